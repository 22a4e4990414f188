"""The translation of the SDK's errors, over every error that was recorded and every shape that is known."""

from __future__ import annotations

import json
import re

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from types import SimpleNamespace

import aiohttp
import pytest

from azure.core.exceptions import (
    AzureError as SdkError,
)
from azure.core.exceptions import (
    ClientAuthenticationError,
    DecodeError,
    HttpResponseError,
    IncompleteReadError,
    ResourceExistsError,
    ResourceNotFoundError,
    ServiceRequestError,
    ServiceRequestTimeoutError,
    ServiceResponseError,
    ServiceResponseTimeoutError,
)
from hypothesis import given
from hypothesis import strategies as st

from hubwarden.adapters.azure.errors import NotSentError, retry_after, translated
from hubwarden.adapters.azure.receipts import receipt_of
from hubwarden.adapters.azure.redaction import safe_text
from hubwarden.domain.receipt import Receipt
from hubwarden.service.errors import (
    AzureError,
    ConflictError,
    DeniedError,
    HubGoneError,
    PermanentError,
    TransientError,
)


RECORDINGS = Path(__file__).parents[3] / "shared" / "data" / "recordings" / "errors"
HUB = "https://management.azure.com/subscriptions/s/resourceGroups/g/providers/Microsoft.Devices/IotHubs/h"
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
KEY = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY="
LINKED = (
    "has permission to perform action 'X/y' on scope '/s'; however, it does not have permission to perform "
    "action(s) 'A/b/action' on the linked scope(s) '/t'"
)
JWT = "eyJhbGciOiJub25lIn0.eyJvaWQiOiJodWJ3YXJkZW4ifQ.c2lnbmF0dXJl"


def answer(status, body="", headers=None, url=HUB):
    text = body if isinstance(body, str) else json.dumps(body)
    return SimpleNamespace(
        status_code=status,
        reason="Reason",
        headers=headers or {},
        content_type="application/json",
        request=SimpleNamespace(url=url),
        text=lambda _encoding=None: text,
        body=text.encode,
    )


def failed(status, body="", headers=None, *, url=HUB, kind=HttpResponseError):
    return kind(response=answer(status, body, headers, url))


def recordings():
    if not RECORDINGS.is_dir():
        return [
            pytest.param(None, marks=pytest.mark.skip("the recordings of real Azure are no part of the project"))
        ]
    return [pytest.param(path, id=path.stem) for path in sorted(RECORDINGS.glob("[0-9]*.json"))]


def expected(status, code):
    """Written down apart from the code that is tested: what each recorded answer means for us."""
    if status == 401:
        return TransientError
    if status == 403 or code == "ScopeLocked":
        return DeniedError
    if code in ("ResourceNotFound", "ResourceGroupNotFound", "404002", "IotHubNotFound"):
        return HubGoneError
    if code in ("MissingSubscriptionRegistration", "OperationNotAllowed"):
        return PermanentError
    if status in (409, 412):
        return ConflictError
    return TransientError if status in (408, 429) or status >= 500 else PermanentError


@pytest.mark.parametrize("path", recordings())
def test_every_recorded_error(path):
    recorded = json.loads(path.read_text(encoding="utf-8"))
    status, body = recorded["status"], recorded["response_body"]
    code = path.stem.split("_")[1]
    error = translated(failed(status, body, recorded["response_headers"]), "reading it")
    assert type(error) is expected(status, code)
    inner = (body.get("error") or body) if isinstance(body, dict) else {}
    lowered = {name.lower(): value for name, value in inner.items()}
    text = str(error)
    assert text.startswith(f"reading it: {status} {lowered.get('code', '')}".rstrip())
    message = re.sub(r"[\w.]+@[\w.]+", "(an e-mail address)", str(lowered.get("message", "")))
    assert " ".join(message.split())[:80] in text
    assert "\n" not in text
    assert len(text) <= 700
    asked_to_wait = "retry-after" in {name.lower() for name in recorded["response_headers"]}
    if isinstance(error, TransientError) and not asked_to_wait:
        seconds = {"SubscriptionRequestsThrottled": 6, "ResourceRequestsThrottled": 324}.get(code)
        assert error.retry_after == (timedelta(seconds=seconds) if seconds else None)


def test_errors_that_people_reported():
    path = RECORDINGS / "from_issue_threads.json"
    if not path.is_file():
        pytest.skip("the recordings of real Azure are no part of the project")
    kinds = [
        type(translated(failed(entry["status"], entry["body"]), "x"))
        for entry in json.loads(path.read_text(encoding="utf-8"))
        if "body" in entry
    ]
    assert kinds[:3] == [ConflictError, DeniedError, HubGoneError]


def wrapped(code, message="because"):
    return {"error": {"code": code, "message": message}}


@pytest.mark.parametrize(
    ("status", "body", "kind", "text"),
    [
        (403, wrapped("AuthorizationFailed"), DeniedError, "403 AuthorizationFailed: because"),
        (404, wrapped("ResourceNotFound"), HubGoneError, "404 ResourceNotFound: because"),
        (404, wrapped("ResourceGroupNotFound"), HubGoneError, "404 ResourceGroupNotFound: because"),
        (404, {"code": 404002, "httpStatusCode": "NotFound", "message": "m"}, HubGoneError, "404 404002: m"),
        (404, {"code": 404002, "httpStatusCode": 404, "message": "m"}, HubGoneError, "404 404002: m"),
        (404, {"Code": "IotHubNotFound", "Message": "m"}, HubGoneError, "404 IotHubNotFound: m"),
        (404, wrapped("SubscriptionNotFound"), PermanentError, "404 SubscriptionNotFound: because"),
        (404, wrapped("InvalidResourceType"), PermanentError, "404 InvalidResourceType: because"),
        (404, "<html>404</html>", PermanentError, "404"),
        (
            409,
            {"code": 409002, "message": "errorcode: IH409002."},
            ConflictError,
            "409 409002: errorcode: IH409002.",
        ),
        (409, wrapped("ScopeLocked"), DeniedError, "409 ScopeLocked: because"),
        (
            409,
            wrapped("MissingSubscriptionRegistration"),
            PermanentError,
            "409 MissingSubscriptionRegistration: because",
        ),
        (412, {"code": 412001, "message": "Invalid ETag"}, ConflictError, "412 412001: Invalid ETag"),
        (
            429,
            wrapped("SubscriptionRequestsThrottled"),
            TransientError,
            "429 SubscriptionRequestsThrottled: because",
        ),
        (429, {"Code": "429", "Message": "m", "Innererror": None}, TransientError, "429 429: m"),
        (500, {"code": 500019, "message": "m"}, TransientError, "500 500019: m"),
        (503, "<!DOCTYPE html><html></html>", TransientError, "503"),
        (504, wrapped("GatewayTimeout"), TransientError, "504 GatewayTimeout: because"),
        (400, wrapped("A", ""), PermanentError, "400 A"),
        (400, {"error": None}, PermanentError, "400"),
        (400, {"error": {"code": None, "message": None}}, PermanentError, "400"),
        (400, {"error": "a text"}, PermanentError, "400: a text"),
        (400, {"error": ["list"]}, PermanentError, "400: ['list']"),
        (400, "[]", PermanentError, "400"),
        (400, "null", PermanentError, "400"),
        (400, "5", PermanentError, "400"),
        (400, "{", PermanentError, "400"),
        (400, '{"a":' * 100_000, PermanentError, "400"),
        (400, wrapped("A", ["no", "text"]), PermanentError, "400 A: ['no', 'text']"),
        (
            400,
            wrapped("A", "two\r\nlines\x00\x1b[31m \u2028 \u202e end"),
            PermanentError,
            "400 A: two lines [31m end",
        ),
    ],
)
def test_every_known_shape(status, body, kind, text):
    error = translated(failed(status, body), "reading h")
    assert type(error) is kind
    assert str(error) == f"reading h: {text}"


@pytest.mark.parametrize(
    "kind", [HttpResponseError, ResourceExistsError, ResourceNotFoundError, ClientAuthenticationError]
)
def test_the_class_of_the_sdks_error_says_nothing_its_answer_does(kind):
    assert type(translated(failed(401, wrapped("ExpiredAuthenticationToken"), kind=kind), "x")) is TransientError
    assert type(translated(failed(409, wrapped("Conflict"), kind=kind), "x")) is ConflictError


@pytest.mark.parametrize("status", range(300, 600))
def test_every_status_is_some_error_and_only_some_may_have_arrived(status):
    error = translated(failed(status), "x")
    assert type(error) is expected(status, "")
    assert getattr(error, "sent", None) == (
        None if not isinstance(error, TransientError) else status == 408 or status >= 500
    )


IDS = {"X-MS-Request-Id": "b5d2f8ce-1", "x-ms-correlation-request-id": "6f0c.a:35"}


@pytest.mark.parametrize("status", [400, 403, 404, 409, 412, 429, 500])
def test_an_error_that_azure_answered_with_has_azures_names_for_the_request(status):
    error = translated(failed(status, wrapped("ResourceNotFound"), IDS), "x")
    assert error.receipt == Receipt("b5d2f8ce-1", "6f0c.a:35")


@pytest.mark.parametrize("error", [ServiceRequestError("broke"), TimeoutError(), NotSentError("no token")])
def test_where_nothing_was_answered_there_is_no_receipt(error):
    assert translated(error, "x").receipt is None


@pytest.mark.parametrize("strange", ["", "a b", "x" * 129, "<script>", "a\nb", "ü"])
def test_what_does_not_look_like_an_id_is_none(strange):
    assert receipt_of({"x-ms-request-id": strange, "x-ms-correlation-request-id": "c"}) == Receipt(None, "c")


def test_a_body_that_was_not_read_is_no_reason_to_fail():
    response = answer(403)
    response.text = lambda: (_ for _ in ()).throw(RuntimeError("not read"))
    error = HttpResponseError("m")
    error.response = response
    assert type(translated(error, "x")) is DeniedError


@pytest.mark.parametrize("wait", [None, timedelta(0), timedelta(seconds=3)])
def test_what_was_not_sent(wait):
    error = translated(NotSentError("no token could be had: why", retry_after=wait), "writing h")
    assert (type(error), error.sent, error.retry_after) == (TransientError, False, wait)
    assert str(error) == "writing h: no token could be had: why"


KEY_OF_CONNECTION = aiohttp.client_reqrep.ConnectionKey("h", 443, is_ssl=True, ssl=True, proxy=None, proxy_auth=None, proxy_headers_hash=None)  # fmt: skip  # noqa: E501


@pytest.mark.parametrize(
    ("error", "sent"),
    [
        (
            ServiceRequestError(
                "m", error=aiohttp.ClientConnectorError(KEY_OF_CONNECTION, OSError(111, "refused"))
            ),
            False,
        ),
        (
            ServiceRequestError("m", error=aiohttp.ClientConnectorDNSError(KEY_OF_CONNECTION, OSError(1, "no"))),
            False,
        ),
        (
            ServiceRequestError("m", error=aiohttp.ClientConnectorSSLError(KEY_OF_CONNECTION, OSError(1, "tls"))),
            False,
        ),
        (ServiceRequestTimeoutError("m", error=aiohttp.ConnectionTimeoutError("m")), False),
        (ServiceRequestError("m", error=aiohttp.ServerDisconnectedError()), True),
        (ServiceRequestError("m", error=aiohttp.ClientOSError(104, "reset")), True),
        (ServiceRequestError("m", error=aiohttp.ClientConnectionError("m")), True),
        (ServiceRequestError("m"), True),
        (ServiceResponseError("m"), True),
        (ServiceResponseTimeoutError("m", error=TimeoutError()), True),
        (IncompleteReadError("m"), True),
        (SdkError("m"), True),
        (TimeoutError(), True),
    ],
)
def test_a_write_may_have_arrived_unless_no_connection_came_about(error, sent):
    result = translated(error, "writing h")
    assert type(result) is TransientError
    assert (result.sent, result.retry_after) == (sent, None)
    assert str(result).startswith("writing h: the connection broke (")


@pytest.mark.parametrize(
    "error", [ValueError("KeyError: secret"), DecodeError("m"), RuntimeError(), KeyError("k")]
)
def test_anything_else_is_an_answer_without_sense(error):
    result = translated(error, "reading h")
    assert type(result) is PermanentError
    assert str(result) == f"reading h: the answer makes no sense ({type(error).__name__})"


def test_a_success_that_cannot_be_decoded_is_an_answer_without_sense():
    result = translated(failed(200, "{", kind=DecodeError), "reading h")
    assert type(result) is PermanentError
    assert str(result) == "reading h: the answer makes no sense (DecodeError)"


@pytest.mark.parametrize(
    ("message", "action"),
    [
        ("does not have authorization to perform action 'A/b/write' over scope '/s'", "A/b/write"),
        ("does not have permission to perform action 'A/b/write' on the linked scope(s) '/s'", "A/b/write"),
        (LINKED, "A/b/action"),
        ("x" * 5000 + " does not have authorization to perform action 'A/b/write' over scope", "A/b/write"),
        ("has permission to perform action 'X/y' on scope '/s', and that is all", None),
        ("Resource 'h' was disallowed by policy.", None),
        ("", None),
    ],
)  # fmt: skip
def test_the_missing_action(message, action):
    error = translated(failed(403, wrapped("LinkedAuthorizationFailed", message)), "x")
    assert error.missing_action == action
    assert len(str(error)) < 700


@pytest.mark.parametrize(
    ("headers", "message", "seconds"),
    [
        ({"Retry-After": "7"}, "", 7),
        ({"retry-AFTER": " 7 "}, "", 7),
        ({"Retry-After": "0"}, "try again after 9 seconds", 0),
        ({"Retry-After": "100000"}, "", 86_400),
        ({"Retry-After": format_datetime(NOW + timedelta(seconds=90), usegmt=True)}, "", 90),
        ({"Retry-After": format_datetime(NOW - timedelta(seconds=90), usegmt=True)}, "", 0),
        ({"Retry-After": format_datetime(NOW + timedelta(days=900), usegmt=True)}, "", 86_400),
        ({"Retry-After": "Mon, 23 Nov 2026 12:01:30 -0000"}, "", None),
        ({"Retry-After": "Mon, 23 Nov 99999 12:01:30 GMT"}, "", None),
        ({"Retry-After": "Fri, 31 Dec 9999 23:59:59 -2359"}, "", 86_400),
        ({"Retry-After": "soon"}, "Please try again after '6' seconds.", 6),
        ({"Retry-After": "\N{ARABIC-INDIC DIGIT SEVEN}"}, "", None),
        ({"Retry-After": "²"}, "", None),
        ({"Retry-After": "7" * 5000}, "", None),
        ({"Retry-After": ""}, "Please try again after 6 seconds.", 6),
        ({}, "Please try again after '6' seconds.", 6),
        ({}, "Please try again after '999999999' seconds.", 86_400),
        ({}, f"Please try again after '{'9' * 5000}' seconds.", None),
        ({}, "Please try again after '\N{ARABIC-INDIC DIGIT SEVEN}' seconds.", None),
        ({}, "x" * 2000 + " Please try again after '6' seconds.", 6),
        ({}, "The request has been throttled. Wait 10 seconds and try again. Operation type: Query", 10),
        ({}, "try again later", None),
        ({"x-ms-retry-after-ms": "7"}, "", None),
        ({}, "", None),
    ],
)
def test_how_long_to_wait(headers, message, seconds):
    wait = None if seconds is None else timedelta(seconds=seconds)
    assert retry_after(headers, message, NOW) == wait
    if "GMT" not in headers.get("Retry-After", "") and "-2359" not in headers.get("Retry-After", ""):
        assert translated(failed(429, wrapped("T", message), headers), "x").retry_after == wait


headers = st.dictionaries(
    st.sampled_from(["Retry-After", "retry-after", "RETRY-AFTER", "Content-Type"]),
    st.text(max_size=30)
    | st.integers().map(str)
    | st.datetimes().map(format_datetime)
    | st.datetimes(timezones=st.just(UTC)).map(format_datetime),
    max_size=2,
)
waits = st.text(max_size=20) | st.integers().map(lambda number: f"Please try again after '{number}' seconds.")
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["error", "code", "Code", "message", "Message", "details"]), inner, max_size=4
        )
    ),
    max_leaves=8,
)
secrets = st.sampled_from([
    KEY, f"SharedAccessKey={KEY}", f"Bearer {JWT}", JWT, f"AccountKey={KEY};", f"sig={KEY}&se=1",
    f'{{"primaryKey":"{KEY}"}}',
])  # fmt: skip


@given(headers, waits)
def test_the_wait_is_never_negative_nor_longer_than_a_day(given_headers, message):
    wait = retry_after(given_headers, message, NOW)
    assert wait is None or timedelta(0) <= wait <= timedelta(days=1)


@given(st.integers(201, 599), json_values | st.text(max_size=200), headers, st.sampled_from([HUB, "", "x"]))
def test_no_answer_whatever_makes_it_raise(status, body, given_headers, url):
    error = translated(failed(status, body, given_headers, url=url), "reading h")
    assert isinstance(error, AzureError)
    assert str(error).startswith("reading h: ")
    assert len(str(error)) <= 700
    assert str(error).isprintable()


@given(
    st.sampled_from([400, 401, 403, 404, 409, 412, 429, 500]),
    st.text(max_size=100),
    secrets,
    st.text(max_size=700),
    st.sampled_from(["error", "code", "message", "wrapped", "oauth"]),
)
def test_no_key_and_no_token_in_any_message(status, before, secret, after, where):
    text = f"{before} {secret} {after}"
    body = {
        "error": {"error": text},
        "code": wrapped(text, "m"),
        "message": {"code": 5, "message": text},
        "wrapped": wrapped("C", text),
        "oauth": {"error": "invalid_client", "error_description": text},
    }[where]
    error = translated(failed(status, body), "writing h")
    assert KEY[:20] not in str(error)
    assert JWT[:20] not in str(error)
    assert len(str(error)) <= 700
    assert KEY[:20] not in str(getattr(error, "missing_action", ""))


@pytest.mark.parametrize(
    "kind", [ServiceRequestError, ServiceResponseError, ClientAuthenticationError, TimeoutError]
)
def test_no_key_in_the_text_of_a_broken_connection(kind):
    error = translated(kind(f"SharedAccessKey={KEY}\nBearer {JWT} {'x' * 900}"), "writing h")
    assert KEY[:20] not in str(error)
    assert JWT[:20] not in str(error)
    assert "\n" not in str(error)
    assert len(str(error)) <= 700


def test_a_key_in_the_place_of_an_action_is_not_named():
    message = f"does not have authorization to perform action 'SharedAccessKey={KEY}' over scope"
    error = translated(failed(403, wrapped("A", message)), "x")
    assert error.missing_action == "SharedAccessKey=****"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("The client 'jane.doe@contoso.com' with id 'x'", "The client '(an e-mail address)' with id 'x'"),
        ("live.com#jo+x@sub.example.co.uk, IP 203.0.113.7.", "(an e-mail address), IP (an IP address)."),
        ("api-version 2021-04-12, TLS 1.2, v1.2.3", "api-version 2021-04-12, TLS 1.2, v1.2.3"),
    ],
)
def test_a_text_for_people_names_no_e_mail_and_no_ip_address(text, shown):
    assert safe_text(text) == shown
