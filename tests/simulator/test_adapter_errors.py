"""Each way in which Azure fails, and the error of the ports that comes of it, over real connections."""

import asyncio
import json
import socket
import ssl

from datetime import timedelta
from email.utils import format_datetime

import pytest
import trustme

from aiohttp import web
from azure.core.credentials import AccessToken
from azure.core.pipeline.transport import AioHttpTransport
from azure.identity.aio import ClientSecretCredential

from hubwarden.adapters.azure import calls as calls_module
from hubwarden.adapters.azure.cloud import Cloud
from hubwarden.adapters.azure.hubs import ArmHubs
from hubwarden.domain.hub_id import HubId
from hubwarden.service.errors import (
    AzureError,
    ConflictError,
    DeniedError,
    HubGoneError,
    PermanentError,
    TransientError,
)
from local.azure_simulator.clock import utc_now


ACTION = "Microsoft.Devices/IotHubs/write"
ASSIGN = "Microsoft.ManagedIdentity/userAssignedIdentities/assign/action"
LINKED = (
    "The client 'c' with object id 'o' has permission to perform action 'Microsoft.Devices/IotHubs/write' on "
    "'{long}'; however, it does not have permission to perform action(s) '{action}' on the linked scope(s) '/x'."
)


def wrapped(code, message="no"):
    return {"error": {"code": code, "message": message}}


def flat(code, message="no"):
    return {"code": code, "httpStatusCode": "Name", "message": message}


class Hubs:
    """The adapter, and everything that is asked of it, under one name each."""

    def __init__(self, arm, names):
        self.arm, self.hub, self.subscription = arm, HubId.parse(names.hub), names.subscription
        self.body = {"id": names.hub, "etag": "e"}

    async def do(self, what):
        if what == "get":
            return await self.arm.get_hub(self.hub)
        if what == "put":
            return await self.arm.put_hub(self.hub, self.body, etag=self.body["etag"])
        return [body async for body in self.arm.list_hubs(self.subscription)]

    async def error(self, what):
        with pytest.raises(AzureError) as caught:
            await self.do(what)
        text = str(caught.value)
        begin = {"get": "reading", "put": "writing", "list": "listing the hubs of subscription"}[what]
        assert text.startswith(f"{begin} {self.subscription if what == 'list' else self.hub}: ")
        assert "\n" not in text
        assert len(text) <= 700
        return caught.value


@pytest.fixture
async def make(sim, names):
    """Adapters, closed in the end."""
    made = []

    def build(*, arm=None, authority=None, secret=names.secret, client=names.app, trusts=None, credential=None):
        cloud = Cloud(arm or sim.url, sim.audience, authority or sim.authority, custom=True)
        credential = credential or ClientSecretCredential(
            names.tenant, client, secret, authority=cloud.authority, disable_instance_discovery=True,
            connection_verify=sim.ca_file, retry_total=0, use_env_settings=False,
        )  # fmt: skip
        verify = sim.ca_file if trusts is None else trusts
        transport = AioHttpTransport(
            use_env_settings=False, connection_timeout=2, read_timeout=5, connection_verify=verify
        )
        adapter = ArmHubs(cloud, credential, transport)
        made.append((adapter, credential))
        return Hubs(adapter, names)

    yield build
    for adapter, credential in made:
        await adapter.close()
        if hasattr(credential, "close"):
            await credential.close()


@pytest.fixture
async def hubs(sim, names, make):
    adapter = make()
    adapter.body = await adapter.do("get")
    sim.clear_requests()
    return adapter


class Token:
    """A credential whose token nobody checks."""

    def __init__(self, token="t"):
        self.token = token

    async def get_token(self, *_scopes, **_options):
        return AccessToken(self.token, 2_000_000_000)


class Script:
    """An ARM that sends exactly what the test says: any status, headers and bytes. Counts what it was asked."""

    def __init__(self):
        self.status, self.headers, self.body, self.asked = 200, {}, b"", []
        self.act = None

    async def handle(self, request):
        self.asked.append((request.method, request.path, dict(request.headers), await request.read()))
        if self.act:
            return await self.act(request)
        return web.Response(status=self.status, headers=self.headers, body=self.body)

    def answer(self, status, body=b"", **headers):
        self.status, self.headers = status, {name.replace("_", "-"): value for name, value in headers.items()}
        self.headers.setdefault("Content-Type", "application/json")
        self.body = body if isinstance(body, bytes) else json.dumps(body).encode()


@pytest.fixture
async def script(tmp_path):
    said = Script()
    application = web.Application()
    application.router.add_route("*", "/{tail:.*}", said.handle)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    said.ca_file = str(tmp_path / "script.pem")
    authority.cert_pem.write_to_path(said.ca_file)
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    said.url = f"https://127.0.0.1:{runner.addresses[0][1]}"
    yield said
    await runner.cleanup()


@pytest.fixture
def scripted(make, script):
    return make(arm=script.url, trusts=script.ca_file, credential=Token())


def arm_calls(sim):
    return [entry for entry in sim.requests() if "/oauth2/" not in entry["path"]]


ANSWERS = [
    (400, flat(400089), PermanentError),
    (400, wrapped("BadRequest"), PermanentError),
    (401, wrapped("ExpiredAuthenticationToken"), TransientError),
    (402, wrapped("PaymentRequired"), PermanentError),
    (403, wrapped("AuthorizationFailed"), DeniedError),
    (403, wrapped("LinkedAuthorizationFailed"), DeniedError),
    (403, wrapped("RequestDisallowedByPolicy"), DeniedError),
    (404, wrapped("ResourceNotFound"), HubGoneError),
    (404, wrapped("ResourceGroupNotFound"), HubGoneError),
    (404, flat(404002), HubGoneError),
    (404, {"Code": "IotHubNotFound", "HttpStatusCode": "NotFound", "Message": "no"}, HubGoneError),
    (404, wrapped("SubscriptionNotFound"), PermanentError),
    (404, wrapped("InvalidResourceType"), PermanentError),
    (404, wrapped("InvalidResourceNamespace"), PermanentError),
    (404, flat(404001), PermanentError),
    (404, b"<html>404</html>", PermanentError),
    (404, b"", PermanentError),
    (405, wrapped("MethodNotAllowed"), PermanentError),
    (408, wrapped("RequestTimeout"), TransientError),
    (409, wrapped("ScopeLocked"), DeniedError),
    (409, flat(409002), ConflictError),
    (409, wrapped("Conflict"), ConflictError),
    (409, wrapped("ResourceGroupBeingDeleted"), ConflictError),
    (409, wrapped("MissingSubscriptionRegistration"), PermanentError),
    (409, b"", ConflictError),
    (412, flat(412001), ConflictError),
    (412, b"", ConflictError),
    (413, b"too large", PermanentError),
    (429, wrapped("SubscriptionRequestsThrottled"), TransientError),
    (429, b"", TransientError),
    (500, flat(500019), TransientError),
    (500, wrapped("InternalServerError"), TransientError),
    (502, wrapped("BadGatewayConnection"), TransientError),
    (503, b"<!DOCTYPE html><html><body>Our services aren't available right now</body></html>", TransientError),
    (503, wrapped("ServerTimeout"), TransientError),
    (504, wrapped("GatewayTimeout"), TransientError),
    (307, b"", PermanentError),
]


@pytest.mark.parametrize("what", ["get", "put", "list"])
async def test_each_answer_is_one_request_and_the_right_error(scripted, script, what):
    for status, body, kind in ANSWERS:
        script.asked.clear()
        content_type = "text/html" if isinstance(body, bytes) else "application/json"
        extra = {"Location": f"{script.url}/elsewhere"} if status == 307 else {}
        script.answer(status, body, Content_Type=content_type, **extra)
        error = await scripted.error(what)
        assert (type(error), len(script.asked)) == (kind, 1), (status, body, error)
        assert f": {status}" in str(error)
        if isinstance(error, TransientError):
            assert (error.sent, error.retry_after) == (status not in (401, 429), None), status
        if isinstance(error, DeniedError):
            assert error.missing_action is None


@pytest.mark.parametrize(
    "tail", ["perform action '{}' over scope '/s'", "perform action(s) '{}' on the linked scope(s) '/s'"]
)
async def test_the_missing_action_is_named(scripted, script, tail):
    text = f"The client 'c' with object id 'o' does not have authorization to {tail.format(ACTION)} or so."
    script.answer(403, wrapped("AuthorizationFailed", text))
    assert (await scripted.error("put")).missing_action == ACTION


async def test_of_two_actions_the_missing_one_is_named_however_long_the_text(scripted, script):
    script.answer(403, wrapped("LinkedAuthorizationFailed", LINKED.format(long="/x" * 300, action=ASSIGN)))
    error = await scripted.error("put")
    assert error.missing_action == ASSIGN


async def test_the_simulators_denials_name_the_action_too(hubs, sim, names):
    sim.deny(ACTION, names.hub)
    error = await hubs.error("put")
    assert type(error) is DeniedError
    assert error.missing_action == ACTION
    assert "403 AuthorizationFailed: The client" in str(error)
    assert [entry["status"] for entry in arm_calls(sim)] == [403]


async def test_locks_deny(hubs, sim, names):
    sim.add_lock(names.group, "ReadOnly")
    error = await hubs.error("put")
    assert type(error) is DeniedError
    assert "409 ScopeLocked" in str(error)
    assert "Please remove the lock" in str(error)


async def test_both_shapes_of_a_missing_hub(hubs, sim, names, arm):
    assert (await arm("DELETE", names.hub)).status == 202
    sim.finish_transitions()
    error = await hubs.error("get")
    assert type(error) is HubGoneError
    assert "404 404002: IotHub 'press' not found" in str(error)
    sim.configure(rp_not_found_seconds=0)
    error = await hubs.error("get")
    assert type(error) is HubGoneError
    assert "404 ResourceNotFound" in str(error)


async def test_a_busy_hub_is_a_conflict_and_the_provider_s_code_can_be_read(hubs, sim):
    await hubs.do("put")
    error = await hubs.error("put")
    assert type(error) is ConflictError
    sim.finish_transitions()
    error = await hubs.error("put")
    assert type(error) is ConflictError
    assert "412 412001: Invalid ETag supplied." in str(error)
    assert "errorcode: IH412001" in str(error)


@pytest.mark.parametrize("what", ["get", "put", "list"])
async def test_an_unregistered_provider_is_left_unregistered(scripted, script, what):
    text = (
        "The subscription is not registered to use namespace 'Microsoft.Devices'. See https://aka.ms/rps-not-found"
    )
    script.answer(409, wrapped("MissingSubscriptionRegistration", text))
    await scripted.error(what)
    assert [method for method, *_ in script.asked] == ["PUT" if what == "put" else "GET"]


@pytest.mark.parametrize(
    ("header", "text", "seconds"),
    [
        ("17", "", 17),
        ("0", "", 0),
        ("17", "Please try again after '6' seconds.", 17),
        (None, "Please try again after '6' seconds.", 6),
        (None, "please Try Again after 6 seconds", 6),
        ("soon", "Please try again after '6' seconds.", 6),
        (None, "try again later", None),
        (None, f"try again after {'9' * 40} seconds", None),
        ("999999999", "", 86_400),
        ("9" * 40, "", None),
        ("²", "", None),
        ("-5", "", None),
        ("1.5", "", None),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
async def test_how_long_azure_asks_to_wait(scripted, script, status, header, text, seconds):
    script.answer(status, wrapped("Busy", text), **({"Retry_After": header} if header else {}))
    error = await scripted.error("put")
    assert type(error) is TransientError
    assert error.retry_after == (None if seconds is None else timedelta(seconds=seconds))


async def test_a_date_to_wait_for(scripted, script):
    script.answer(429, b"", retry_after=format_datetime(utc_now() + timedelta(minutes=5), usegmt=True))
    wait = (await scripted.error("get")).retry_after
    assert timedelta(minutes=4) < wait <= timedelta(minutes=5)


async def test_a_real_throttle(hubs, sim):
    sim.configure(writes=[0, 0.2])
    error = await hubs.error("put")
    assert type(error) is TransientError
    assert (error.sent, error.retry_after) == (False, timedelta(seconds=5))
    assert [entry["status"] for entry in arm_calls(sim)] == [429]


@pytest.mark.parametrize("status", [403, 404, 408, 409, 412, 429, 500, 502, 503, 504])
@pytest.mark.parametrize("what", ["get", "put", "list"])
async def test_no_fault_is_tried_twice(hubs, sim, what, status):
    sim.fail("PUT" if what == "put" else "GET", "iothubs", status=status, retry_after=0, times=None)
    await hubs.error(what)
    assert [entry["status"] for entry in arm_calls(sim)] == [status]


async def test_a_page_of_html(hubs, sim):
    sim.fail("PUT", "iothubs", status=503, html=True, retry_after=3)
    error = await hubs.error("put")
    assert type(error) is TransientError
    assert (error.sent, error.retry_after) == (True, timedelta(seconds=3))
    assert "html" not in str(error).lower()


@pytest.mark.parametrize("what", ["get", "list"])
async def test_a_cut_read_is_transient(hubs, sim, what):
    sim.fail("GET", kind="cut", times=None)
    error = await hubs.error(what)
    assert type(error) is TransientError
    assert "the connection broke" in str(error)


@pytest.mark.parametrize("fault", ["cut", "cut_after"])
@pytest.mark.parametrize("times", [1, None])
async def test_a_cut_write_may_have_arrived_and_is_not_sent_again(hubs, sim, names, fault, times):
    sim.fail("PUT", kind=fault, times=times)
    error = await hubs.error("put")
    assert type(error) is TransientError
    assert error.sent
    assert [entry["method"] for entry in arm_calls(sim)] == ["PUT"]
    assert sim.hub(names.hub)["state"] == ("Active" if fault == "cut" else "Transitioning")


async def test_a_write_on_a_connection_of_its_own_is_not_sent_again_either(make, sim, names):
    first = make()
    first.body = json.loads(json.dumps(sim.hub(names.hub)["body"]))
    sim.fail("PUT", kind="cut_after", times=1)
    assert (await first.error("put")).sent
    assert [entry["method"] for entry in arm_calls(sim)] == ["PUT"]


async def broken_off(request):
    response = web.StreamResponse(
        status=201 if request.method == "PUT" else 200, headers={"Content-Length": "999"}
    )
    await response.prepare(request)
    await response.write(b'{"value": [')
    request.transport.abort()
    return response


@pytest.mark.parametrize("what", ["get", "put", "list"])
async def test_an_answer_that_breaks_off_in_its_body(scripted, script, what):
    script.act = broken_off
    error = await scripted.error(what)
    assert type(error) is TransientError
    assert error.sent
    assert len(script.asked) == 1


@pytest.mark.parametrize("what", ["get", "put"])
async def test_a_body_that_never_ends_is_a_timeout(hubs, sim, monkeypatch, what):
    monkeypatch.setattr(calls_module, "_SECONDS", 0.1)
    sim.fail("PUT" if what == "put" else "GET", "iothubs", kind="slow", seconds=1, times=None)
    error = await hubs.error(what)
    assert type(error) is TransientError
    assert error.sent
    assert "TimeoutError" in str(error)


async def test_a_list_that_never_ends_is_a_timeout(hubs, sim, monkeypatch):
    monkeypatch.setattr(calls_module, "_SECONDS", 0.01)
    sim.fail("GET", "iothubs", kind="slow", seconds=1, times=None)
    assert type(await hubs.error("list")) is TransientError


async def test_the_transports_own_timeout_is_transient_too(make, sim, script, names):
    async def never(_request):
        await asyncio.sleep(5)

    script.act = never
    cloud = Cloud(script.url, "a", "https://localhost", custom=True)
    transport = AioHttpTransport(use_env_settings=False, read_timeout=0.1, connection_verify=script.ca_file)
    slow = Hubs(ArmHubs(cloud, Token(), transport), names)
    error = await slow.error("put")
    assert type(error) is TransientError
    assert error.sent
    await slow.arm.close()
    assert len(script.asked) == 1


async def test_cancelling_is_no_error_of_azure(hubs, sim):
    sim.fail("GET", "iothubs", kind="slow", seconds=1)
    task = asyncio.create_task(hubs.do("get"))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


GARBAGE = [b"", b"{", b"[]", b"[1]", b"null", b"5", b'"text"', b"\xff\xfe", b"<html>no</html>"]


@pytest.mark.parametrize("content_type", ["application/json", "text/html", "application/octet-stream"])
@pytest.mark.parametrize("what", ["get", "list"])
async def test_a_success_without_sense_is_no_hub(scripted, script, what, content_type):
    for body in GARBAGE:
        script.answer(200, body, Content_Type=content_type)
        error = await scripted.error(what)
        assert type(error) is PermanentError, body
        assert "the answer" in str(error)


@pytest.mark.parametrize("value", [5, "text", {"a": 1}, [5], ["text"], [None], [[]], [{"id": "x"}, 5]])
async def test_a_list_of_what_are_no_objects_is_no_list(scripted, script, value):
    script.answer(200, {"value": value})
    assert type(await scripted.error("list")) is PermanentError


@pytest.mark.parametrize("body", [{}, {"value": None}, {"nextLink": None}])
async def test_a_list_without_a_value_is_not_taken_for_an_empty_one(scripted, script, body):
    script.answer(200, body)
    assert type(await scripted.error("list")) is PermanentError


@pytest.mark.parametrize("status", [200, 201])
async def test_the_answer_of_a_write_is_not_looked_at(scripted, script, status):
    for body in [*GARBAGE, json.dumps({"id": 5, "properties": "no"}).encode()]:
        script.asked.clear()
        script.answer(status, body)
        await scripted.do("put")
        assert len(script.asked) == 1


async def test_neither_operation_header_is_followed(scripted, script):
    operation = f"{script.url}/subscriptions/s/operation"
    script.answer(201, {}, Azure_AsyncOperation=operation, Location=operation, Retry_After="0")
    await scripted.do("put")
    await asyncio.sleep(0.05)
    (method, _, headers, body) = script.asked[0]
    assert (len(script.asked), method) == (1, "PUT")
    assert headers["If-Match"] == "e"
    assert json.loads(body) == scripted.body


async def test_what_the_sdk_cannot_read_into_its_models(scripted, script):
    """Not a hub that its model can hold: the error is one of the ports all the same."""
    script.answer(200, {"id": "x", "sku": {"capacity": "many"}})
    assert type(await scripted.error("get")) is PermanentError


@pytest.fixture
def nobody():
    """An address at which nothing listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"https://127.0.0.1:{taken.getsockname()[1]}"


@pytest.mark.parametrize("what", ["get", "put", "list"])
async def test_nobody_there_means_nothing_was_sent(make, nobody, what):
    error = await make(arm=nobody, credential=Token()).error(what)
    assert type(error) is TransientError
    assert not error.sent
    assert "Cannot connect to host (an IP address)" in str(error)


async def test_no_such_name_means_nothing_was_sent(make):
    error = await make(arm="https://nobody.invalid", credential=Token()).error("put")
    assert type(error) is TransientError
    assert not error.sent


@pytest.mark.parametrize("trusts", [True, "other"])
async def test_a_server_that_is_not_trusted_gets_nothing_and_the_message_says_why(make, sim, script, trusts):
    error = await make(credential=Token(), trusts=script.ca_file if trusts == "other" else True).error("put")
    assert type(error) is TransientError
    assert not error.sent
    assert "certificate verify failed" in str(error)
    assert arm_calls(sim) == []


async def test_plain_http_is_refused_before_the_token_is_out(make):
    error = await make(arm="http://127.0.0.1:9", credential=Token("eyJx.y.z")).error("put")
    assert "not permitted for non-TLS protected" in str(error)


@pytest.mark.parametrize("what", ["get", "put", "list"])
async def test_a_wrong_secret_is_no_token_and_nothing_was_sent(make, sim, what):
    error = await make(secret="wrong-secret").error(what)
    assert type(error) is TransientError
    assert not error.sent
    assert "no token could be had: " in str(error)
    assert "AADSTS7000215" in str(error)
    assert "wrong-secret" not in str(error)
    assert arm_calls(sim) == []


async def test_an_unknown_application(make):
    error = await make(client="dddddddd-0000-4000-8000-000000000001").error("get")
    assert type(error) is TransientError
    assert "AADSTS700016" in str(error)


@pytest.mark.parametrize("html", [True, False])
@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_token_endpoint_that_fails(make, sim, status, html):
    sim.fail("POST", "/oauth2/", status=status, html=html, times=None)
    error = await make().error("put")
    assert type(error) is TransientError
    assert not error.sent
    assert "no token could be had: " in str(error)


async def test_a_token_endpoint_that_is_not_there(make, sim, nobody):
    error = await make(authority=nobody).error("put")
    assert type(error) is TransientError
    assert not error.sent
    assert arm_calls(sim) == []


async def test_a_token_endpoint_that_is_not_trusted(make, sim, names, script):
    credential = ClientSecretCredential(
        names.tenant, names.app, names.secret, authority=sim.authority, disable_instance_discovery=True,
        connection_verify=script.ca_file, retry_total=0,
    )  # fmt: skip
    error = await make(credential=credential).error("put")
    assert type(error) is TransientError
    assert not error.sent
    assert "certificate verify failed" in str(error)
    assert sim.requests() == []


async def test_a_token_endpoint_that_hangs_up(make, sim):
    sim.fail("POST", "/oauth2/", kind="cut", times=None)
    assert type(await make().error("put")) is TransientError


@pytest.mark.parametrize("options", [{"expires_in": -5}, {"audience": "https://graph.microsoft.com"}])
async def test_a_token_that_arm_does_not_take(make, sim, names, options):
    error = await make(credential=Token(sim.issue_token(names.app, **options))).error("put")
    assert type(error) is TransientError
    assert not error.sent
    assert "401 " in str(error)
    assert [entry["status"] for entry in arm_calls(sim)] == [401]
    assert names.app not in str(error)


async def test_a_credential_that_breaks_in_its_own_way(make):
    class Broken:
        async def get_token(self, *_scopes, **_options):
            raise RuntimeError("secret-thing")

    error = await make(credential=Broken()).error("get")
    assert type(error) is PermanentError
    assert "RuntimeError" in str(error)
    assert "secret-thing" not in str(error)


async def test_the_tie_to_the_sdks_error_is_cut(scripted, script):
    """A traceback would print the SDK's text, which quotes the body."""
    script.answer(500, b"not JSON: AccountKey=verysecret")
    error = await scripted.error("put")
    assert error.__cause__ is None
    assert error.__suppress_context__
