"""The life of a ticket in each system, and each vendor's errors."""

from __future__ import annotations

import asyncio
import base64
import logging

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from hubwarden.adapters.tickets import turn
from hubwarden.domain.severity import Severity
from hubwarden.service.errors import (
    DeniedError,
    PermanentError,
    StaleWriteError,
    StorageUnavailableError,
    TransientError,
)
from hubwarden.service.ports import Ticket
from tests.simulator.listening import all_loggers_at_debug
from tests.tickets.vendors import ASKED, TOKEN, VENDORS, Item, Refused
from tests.unit.fakes import HUB


NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
TICKET = Ticket(
    key="f-0123456789abcdef",
    hub=HUB,
    rule_id="tls-minimum",
    title="hub-1: minTlsVersion is 1.0",
    text="What: minTlsVersion is 1.0\nWhere: hub-1\n  a detail\nRisk: old TLS",
    is_open=True,
    opened_at=NOW,
    changed_at=NOW,
    severity=Severity.HIGH,
)
EVERY = pytest.mark.parametrize("name", VENDORS)
EACH = pytest.mark.parametrize("name", ASKED)
FOLLOWED = pytest.mark.parametrize("name", ["jira", "jira cloud", "servicenow", "azure_devops"])
"""Those in which a ticket can be over for good."""


@EVERY
async def test_a_ticket_is_opened_brought_up_to_date_and_closed_with_the_evidence(desk_of, name):
    desk = await desk_of(name)
    await desk.tickets.open(TICKET)
    await desk.tickets.open(replace(TICKET, title="hub-1: news"))
    (item,) = desk.vendor.items
    assert (item.key, item.title, item.state) == (TICKET.key, "hub-1: news", "open")
    assert "minTlsVersion is 1.0" in str(item.text)
    assert await desk.tickets.close(TICKET.key, "minTlsVersion is 1.2 now", NOW)
    assert item.state == "closed"
    assert name == "pagerduty" or "minTlsVersion is 1.2 now" in item.notes[0]
    remembered = await desk.tickets.find_by_key(TICKET.key)
    assert not remembered.is_open
    assert remembered.ref.id == item.id
    assert not desk.vendor.refusals


@EVERY
async def test_a_drift_that_comes_back_has_one_open_ticket(desk_of, name):
    desk = await desk_of(name)
    for _ in range(3):
        await desk.tickets.open(TICKET)
        assert [item.key for item in desk.vendor.open_ones] == [TICKET.key]
        await desk.tickets.close(TICKET.key, "gone", NOW)
        assert not desk.vendor.open_ones
    assert name == "pagerduty" or len(desk.vendor.items) == 1
    assert (await desk.tickets.find_by_key(TICKET.key)).occurrences == 3
    assert not desk.vendor.refusals


@FOLLOWED
async def test_where_the_ticket_is_over_for_good_a_new_one_names_it(desk_of, name):
    desk = await desk_of(name)
    await desk.tickets.open(TICKET)
    (old,) = desk.vendor.items
    old.state = "final"
    await desk.tickets.open(TICKET)
    await desk.tickets.open(TICKET)
    old_again, new = desk.vendor.items
    assert (old_again.state, new.state) == ("final", "open")
    assert new.follows == [old.id]
    assert not desk.vendor.refusals


async def test_on_github_an_issue_that_moved_away_is_followed_by_one_that_names_it(desk_of):
    desk = await desk_of("github")
    await desk.tickets.open(TICKET)
    elsewhere = {"Location": "https://api.github.com/repositories/1/issues/7"}
    desk.vendor.faults = [(301, elsewhere, {"message": "Moved Permanently"})]
    await desk.tickets.open(TICKET)
    assert desk.vendor.items[1].follows == ["1"]


@EACH
async def test_a_ticket_that_somebody_deleted_is_opened_anew_and_closing_it_is_harmless(desk_of, name):
    desk = await desk_of(name)
    await desk.tickets.open(TICKET)
    desk.vendor.items.clear()
    await desk.tickets.close(TICKET.key, "gone", NOW)
    await desk.tickets.open(TICKET)
    assert len(desk.vendor.open_ones) == 1


@EACH
async def test_one_that_somebody_closed_by_hand_is_left_alone_until_there_is_news(desk_of, name):
    desk = await desk_of(name)
    await desk.tickets.open(TICKET)
    (item,) = desk.vendor.items
    item.state = "closed"
    await desk.tickets.close(TICKET.key, "gone", NOW)
    assert item.notes == []
    await desk.tickets.open(TICKET)
    assert item.state == "open"


@EVERY
async def test_a_ticket_whose_answer_was_lost_is_found_and_not_opened_twice(desk_of, name):
    desk = await desk_of(name)
    desk.vendor.late = [(503, {}, "upstream")]
    with pytest.raises(TransientError) as caught:
        await desk.tickets.open(TICKET)
    assert caught.value.sent
    assert len(desk.vendor.items) == 1
    fresh = desk.make()
    await fresh.open(TICKET)
    assert len(desk.vendor.items) == 1
    await fresh.close(TICKET.key, "gone", NOW)
    assert not desk.vendor.open_ones


@EVERY
async def test_a_ticket_that_may_be_there_is_closed_though_nobody_remembers_it(desk_of, name):
    desk = await desk_of(name)
    await desk.tickets.open(TICKET)
    desk.store.tickets.clear()
    await desk.tickets.close(TICKET.key, "gone", NOW)
    assert not desk.vendor.open_ones


@EVERY
async def test_one_that_we_remember_is_found_without_a_search(desk_of, name):
    desk = await desk_of(name)
    await desk.tickets.open(TICKET)
    before = len(desk.vendor.requests)
    await desk.tickets.open(TICKET)
    paths = [path for _, path in desk.vendor.requests[before:]]
    assert not any("search" in path or "wiql" in path for path in paths)
    assert len(paths) <= 3


@EVERY
async def test_a_ticket_of_another_system_is_none_of_ours(desk_of, name):
    desk = await desk_of(name)
    await desk.tickets.open(TICKET)
    (item,) = desk.vendor.items
    remembered = desk.store.tickets[TICKET.key]
    desk.store.tickets[TICKET.key] = replace(remembered, ref=replace(remembered.ref, system="elsewhere", id="99"))
    await desk.tickets.open(TICKET)
    assert desk.vendor.items == [item]
    assert desk.store.tickets[TICKET.key].ref == remembered.ref


@pytest.mark.parametrize("name", ["jira", "jira cloud"])
async def test_a_workflow_that_does_not_let_go_is_named_and_collects_no_comments(desk_of, name):
    desk = await desk_of(name)
    await desk.tickets.open(TICKET)
    (item,) = desk.vendor.items
    item.state = "stuck"
    for _ in range(3):
        with pytest.raises(PermanentError, match="has no transition to a done status"):
            await desk.tickets.close(TICKET.key, "gone", NOW)
    assert item.notes == []
    assert (await desk.tickets.find_by_key(TICKET.key)).is_open


@EACH
async def test_what_cannot_be_closed_collects_no_comments(desk_of, name):
    desk = await desk_of(name)
    await desk.tickets.open(TICKET)
    (item,) = desk.vendor.items
    desk.vendor.refuse = lambda request: request.method in {"PATCH", "PUT"} or "transitions" in request.path
    for _ in range(3):
        with pytest.raises(PermanentError):
            await desk.tickets.close(TICKET.key, "gone", NOW)
    assert item.notes == []


@EVERY
async def test_workers_that_open_the_same_ticket_side_by_side_open_one(desk_of, name):
    desk = await desk_of(name)
    await asyncio.gather(*(desk.tickets.open(TICKET) for _ in range(5)))
    assert len(desk.vendor.items) == 1
    assert not desk.vendor.refusals


# --- several instances of the app


@EVERY
async def test_instances_that_open_the_same_ticket_side_by_side_open_one(desk_of, name):
    desk = await desk_of(name)
    both = [desk.tickets, desk.make()]
    done = await asyncio.gather(*(each.open(TICKET) for each in both), return_exceptions=True)
    assert len(desk.vendor.items) == 1
    (late,) = (error for error in done if error is not None)
    assert isinstance(late, TransientError)
    assert "another worker is at it" in str(late)
    assert late.retry_after == timedelta(seconds=5)
    for each in both:
        await each.open(TICKET)
    assert len(desk.vendor.items) == 1
    assert not desk.vendor.refusals


@FOLLOWED
async def test_instances_that_follow_the_same_ticket_side_by_side_open_one(desk_of, name):
    desk = await desk_of(name)
    await desk.tickets.open(TICKET)
    desk.vendor.items[0].state = "final"
    await asyncio.gather(*(each.open(TICKET) for each in (desk.tickets, desk.make())), return_exceptions=True)
    await desk.make().open(TICKET)
    assert [item.state for item in desk.vendor.items] == ["final", "open"]


@FOLLOWED
async def test_one_that_follows_and_whose_answer_was_lost_is_found_and_not_opened_twice(desk_of, name):
    desk = await desk_of(name)
    await desk.tickets.open(TICKET)
    (old,) = desk.vendor.items
    old.state = "final"
    desk.vendor.late = [(503, {}, "upstream")]
    with pytest.raises(TransientError):
        await desk.tickets.open(TICKET)
    await desk.make().open(TICKET)
    _, new = desk.vendor.items
    assert (new.state, new.follows) == ("open", [old.id])
    assert desk.store.tickets[TICKET.key].previous.id == old.id


@EVERY
async def test_the_turn_of_a_worker_that_died_is_taken_over_once_it_is_over(desk_of, name):
    desk = await desk_of(name)
    await desk.tickets.open(TICKET)
    desk.store.tickets.clear()
    await hold_the_turn(desk)
    asked = len(desk.vendor.requests)
    desk.tickets._clock = lambda: NOW + timedelta(minutes=4, seconds=59)
    for _ in range(2):
        with pytest.raises(TransientError, match="another worker"):
            await desk.tickets.open(TICKET)
    assert len(desk.vendor.requests) == asked
    desk.tickets._clock = lambda: NOW + timedelta(minutes=5)
    await desk.tickets.open(TICKET)
    assert len(desk.vendor.items) == 1


async def hold_the_turn(desk):
    """As a worker that died in the middle left it."""
    last = await desk.store.turn(TICKET.key)
    died = turn.Turn(TICKET.key, "somebody", NOW + timedelta(minutes=5))
    await desk.store.save_turn(died, last.etag)


async def test_who_takes_too_long_gives_up_long_before_others_take_over(desk_of, monkeypatch):
    desk = await desk_of("github")
    assert turn._LONGEST < turn._LASTS
    monkeypatch.setattr(turn, "_LONGEST", timedelta(milliseconds=20))
    monkeypatch.setattr(desk.tickets._tracker, "find", lambda _: asyncio.sleep(5))
    with pytest.raises(TransientError, match="broken off") as caught:
        await desk.tickets.open(TICKET)
    assert caught.value.sent
    monkeypatch.undo()
    await desk.make().open(TICKET)
    assert len(desk.vendor.items) == 1


async def test_a_turn_that_cannot_be_given_back_ends_by_itself(desk_of, caplog):
    desk = await desk_of("github")
    save, told = desk.store.save_turn, []

    async def first_only(*what):
        told.append(what)
        if len(told) > 1:
            raise StorageUnavailableError("table hubwardentickets: 503")
        return await save(*what)

    desk.store.save_turn = first_only
    await desk.tickets.open(TICKET)
    assert "ends by itself: table hubwardentickets: 503" in caplog.text
    with pytest.raises(TransientError, match="another worker"):
        await desk.make().open(TICKET)
    assert len(desk.vendor.items) == 1


async def test_a_turn_is_ours_though_the_answer_was_lost(desk_of):
    desk = await desk_of("github")
    save = desk.store.save_turn

    async def lost(*what):
        await save(*what)
        raise StaleWriteError("sent twice")

    desk.store.save_turn = lost
    await desk.tickets.open(TICKET)
    await desk.tickets.close(TICKET.key, "gone", NOW)
    assert [item.state for item in desk.vendor.items] == ["closed"]


# --- the evidence


def without_comments(vendor):
    """Comments are answered with 503 until the list is empty."""
    route, left = vendor.route, []

    def refusing(request, body, raw):
        if left and request.method == "POST" and "comment" in request.path:
            left.pop()
            raise Refused(503, {"message": "no comment"})
        return route(request, body, raw)

    vendor.route = refusing
    return left


COMMENTED = pytest.mark.parametrize("name", ["github", "jira", "jira cloud"])


@COMMENTED
@pytest.mark.parametrize("remembered", [True, False])
async def test_evidence_that_could_not_be_told_is_told_later_and_once(desk_of, name, remembered):
    desk = await desk_of(name)
    await desk.tickets.open(TICKET)
    (item,) = desk.vendor.items
    without_comments(desk.vendor).extend([503, 503])
    for _ in range(2):
        with pytest.raises(TransientError, match="no comment"):
            await desk.make().close(TICKET.key, "minTlsVersion is 1.2 now", NOW)
        assert item.state == "closed"
    if not remembered:
        desk.store.tickets.clear()
    for _ in range(2):
        await desk.make().close(TICKET.key, "minTlsVersion is 1.2 now", NOW)
    (note,) = item.notes
    assert "minTlsVersion is 1.2 now" in note
    closings = [path for method, path in desk.vendor.requests if (method, path.split("/")[-1]) in CLOSING]
    assert len(closings) == 1


CLOSING = {("PATCH", "1"), ("POST", "transitions")}


@COMMENTED
async def test_evidence_is_owed_no_more_once_the_drift_is_back(desk_of, name):
    desk = await desk_of(name)
    await desk.tickets.open(TICKET)
    (item,) = desk.vendor.items
    without_comments(desk.vendor).append(503)
    with pytest.raises(TransientError):
        await desk.make().close(TICKET.key, "gone", NOW)
    await desk.make().open(TICKET)
    assert item.state == "open"
    item.state = "closed"
    await desk.make().close(TICKET.key, "gone again", NOW)
    assert item.notes == []


async def test_on_github_every_page_is_looked_through_and_a_marker_elsewhere_is_none(desk_of):
    desk = await desk_of("github")
    await desk.tickets.open(TICKET)
    (item,) = desk.vendor.items
    for number in range(2, 232):
        text = f"{number}: somebody's words <!-- hubwarden:{TICKET.key} --> and more"
        desk.vendor.items.append(Item(str(number), "f-0", text=text))
    desk.store.tickets.clear()
    await desk.tickets.close(TICKET.key, "gone", NOW)
    assert item.state == "closed"
    assert len(desk.vendor.open_ones) == 230


GRADES = {
    "github": [f"severity:{severity}" for severity in Severity],
    "jira": ["Low", "Medium", "High", "Highest"],
    "jira cloud": ["Low", "Medium", "High", "Highest"],
    "servicenow": [("3", "3"), ("2", "2"), ("2", "1"), ("1", "1")],
    "azure_devops": [4, 3, 2, 1],
    "pagerduty": ["info", "warning", "error", "critical"],
    "webhook": list(Severity),
}


@EVERY
async def test_each_severity_has_its_own_grade(desk_of, name):
    desk = await desk_of(name)
    for number, severity in enumerate(Severity):
        await desk.tickets.open(replace(TICKET, key=f"f-{number}", severity=severity))
    assert [item.grade for item in desk.vendor.items] == GRADES[name]


ERRORS = {
    "too many": (429, {"Retry-After": "77"}, {"message": "slow down"}, TransientError, 77, False),
    "outage": (503, {}, "<html>down</html>", TransientError, None, True),
    "outage, with a wish": (502, {"Retry-After": "5"}, None, TransientError, 5, True),
    "time-out": (408, {}, None, TransientError, None, True),
    "no token": (401, {}, {"message": "Bad credentials"}, DeniedError, None, None),
    "no right": (403, {}, {"error": {"message": "no", "detail": "ACL"}}, DeniedError, None, None),
    "a redirect": (302, {"Location": "https://evil.example/"}, None, PermanentError, None, None),
    "nonsense": (422, {}, {"message": "Validation Failed", "errors": ["x"]}, PermanentError, None, None),
}


@EVERY
@pytest.mark.parametrize("fault", ERRORS)
async def test_what_a_vendor_refuses_is_said_as_the_port_says_it(desk_of, name, fault):
    status, headers, body, kind, wait, sent = ERRORS[fault]
    desk = await desk_of(name)
    desk.vendor.faults = [(status, headers, body)]
    with pytest.raises(kind, match=str(status)) as caught:
        await desk.tickets.open(TICKET)
    if kind is TransientError:
        assert caught.value.retry_after == (None if wait is None else timedelta(seconds=wait))
        assert caught.value.sent is sent
    assert len(desk.vendor.requests) == 1, "no retries, no redirects"


async def test_githubs_rate_limit_is_no_refusal(desk_of):
    desk = await desk_of("github")
    reset = int(datetime.now(UTC).timestamp()) + 600
    headers = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(reset)}
    desk.vendor.faults = [(403, headers, {"message": "API rate limit exceeded"})]
    with pytest.raises(TransientError, match="rate limit") as caught:
        await desk.tickets.open(TICKET)
    assert 590 < caught.value.retry_after.total_seconds() <= 600


async def test_devops_sign_in_page_is_a_refusal(desk_of):
    desk = await desk_of("azure_devops")
    desk.vendor.faults = [(203, {}, "<html>Sign in</html>")]
    with pytest.raises(DeniedError, match="the token is not accepted"):
        await desk.tickets.open(TICKET)


NONSENSE = [
    {"something": "else"},
    [],
    [1],
    {"issues": {}, "result": {}, "workItems": {}},
    {"issues": [1]},
    None,
    "x",
    5,
]


@EACH
@pytest.mark.parametrize("body", NONSENSE)
async def test_an_answer_without_sense_is_an_error_that_says_so(desk_of, name, body):
    desk = await desk_of(name)
    desk.vendor.faults = [(200, {}, body)] * 2
    with pytest.raises(PermanentError, match="makes no sense"):
        await desk.tickets.open(TICKET)


@EVERY
async def test_after_a_failure_the_system_is_left_alone_for_a_while(desk_of, name):
    desk = await desk_of(name)
    moment = 1000.0
    desk.tickets._now = lambda: moment
    desk.vendor.faults = [(429, {"Retry-After": "60"}, None)]
    for _ in range(3):
        with pytest.raises(TransientError) as caught:
            await desk.tickets.open(TICKET)
        assert caught.value.retry_after == timedelta(seconds=60)
    assert len(desk.vendor.requests) == 1
    moment += 61
    await desk.tickets.open(TICKET)
    assert len(desk.vendor.open_ones) == 1


async def test_a_host_that_does_not_answer_is_come_back_to(desk_of):
    desk = await desk_of("github")
    await desk.tickets.open(TICKET)
    await desk.tickets.shut_down()
    from aiohttp import TCPConnector

    from tests.tickets.conftest import ToLoopback

    desk.tickets._http._made, desk.tickets._http._connector = None, lambda: TCPConnector(resolver=ToLoopback(9))
    with pytest.raises(TransientError, match=r"api\.github\.com") as caught:
        await desk.tickets.open(TICKET)
    assert not caught.value.sent


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("", "is empty"), ("  ", "is empty"),
        ("@Microsoft.KeyVault(SecretUri=https://v.vault.azure.net/secrets/x)", "not resolved .SecretUri=https://v"),
        (" @microsoft.keyvault(VaultName=v;SecretName=x) ", "not resolved .VaultName=v;SecretName=x.,"),
    ],
)  # fmt: skip
@EVERY
async def test_a_secret_that_is_missing_stands_in_the_way_of_tickets_only(desk_of, name, value, told):
    desk = await desk_of(name)
    tickets = desk.make(value)
    with pytest.raises(DeniedError, match=f"the app setting HUBWARDEN_.* {told}"):
        await tickets.open(TICKET)
    assert desk.vendor.requests == []


@EVERY
async def test_the_secret_is_in_no_error_no_log_and_no_row_though_the_vendor_shows_it(desk_of, name):
    with all_loggers_at_debug() as heard:
        desk = await desk_of(name)
        await desk.tickets.open(TICKET)
        desk.vendor.faults = [(400, {}, {"message": f"you sent {TOKEN} and {TOKEN}"})]
        with pytest.raises(PermanentError) as caught:
            await desk.tickets.open(TICKET)
        logging.getLogger("test").info("%r %s %r", desk.tickets.__dict__, caught.value, desk.store.tickets)
    assert TOKEN not in heard.text
    assert "you sent ****" in str(caught.value)


USERS = {"jira cloud": "bot@example.com", "servicenow": "hubwarden", "azure_devops": ""}


@pytest.mark.parametrize("name", USERS)
@pytest.mark.parametrize("before", ["Authorization: Basic ", "x" * 270])
async def test_a_password_is_in_no_error_in_the_form_in_which_it_was_sent(desk_of, name, before):
    sent = base64.b64encode(f"{USERS[name]}:{TOKEN}".encode()).decode()
    desk = await desk_of(name)
    desk.vendor.faults = [(400, {}, {"message": f"bad header {before}{sent}"})]
    with pytest.raises(PermanentError, match="bad header") as caught:
        await desk.tickets.open(TICKET)
    assert sent[:10] not in str(caught.value)


async def test_an_approval_link_that_is_echoed_lets_nobody_in(desk_of):
    desk = await desk_of("github")
    link = "https://app.example/api/approvals/f-1?v=1&p=sha256:abcdef&e=1795521600&s=Sm9obiBEb2UgYnV0IHRoYXQgaXM"
    desk.vendor.faults = [(422, {}, {"message": f"too long: {link} and so on"})]
    with pytest.raises(PermanentError, match="too long") as caught:
        await desk.tickets.open(TICKET)
    assert "/api/approvals/f-1?v=1&p=****&e=1795521600&s=**** and so on" in str(caught.value)
