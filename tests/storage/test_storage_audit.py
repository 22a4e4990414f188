"""The audit trail in real append blobs: no line lost, none torn, none doubled, and one chain whatever happens."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import uuid

from datetime import UTC, datetime, timedelta, timezone

import pytest

from azure.core.exceptions import HttpResponseError, ResourceExistsError, ServiceResponseError
from azure.core.pipeline.transport import AioHttpTransport
from azure.storage.blob.aio import BlobClient

from hubwarden.adapters.storage.audit import BlobAudit
from hubwarden.adapters.storage.trail import BlobTrail
from hubwarden.domain.audit import LONGEST_BLOCK, Place, verify
from hubwarden.service.errors import StorageUnavailableError


TODAY = "audit/2026/11/23.jsonl"


async def trail(account) -> list[tuple[str, list[bytes]]]:
    reader = BlobTrail(account)
    return [(place.name, [line async for line in reader.lines(place)]) for place in await reader.places()]


async def lines(account, name: str | None = None) -> list[dict]:
    """Of one blob, or of all that are no mere sign that the trail goes on."""
    found = [(blob, json.loads(line)) for blob, each in await trail(account) for line in each]
    return [line for blob, line in found if (blob == name if name else line["kind"] != "continued")]


async def names(account) -> list[str]:
    return [name for name, _ in await trail(account)]


async def whole(account):
    verdict = verify(await trail(account))
    assert verdict.whole, verdict.problems
    return verdict


def blob(account, name=TODAY) -> BlobClient:
    return account.container("hubwarden-audit").get_blob_client(name)


@pytest.fixture
def requests(mocker):
    """The requests that are sent, as method and the query that says what for."""
    sent = []
    send = AioHttpTransport.send

    async def noted(transport, request, **options):
        sent.append(f"{request.method} {dict(request.query).get('comp', '')}".strip())
        return await send(transport, request, **options)

    mocker.patch.object(AioHttpTransport, "send", autospec=True, side_effect=noted)
    return sent


# --- lines


async def test_a_line_has_time_kind_id_and_details_in_the_order_of_their_names(account, clock):
    await BlobAudit(account, clock).append(
        "decided", {"why": "ünï\n\ud800", "hub": "/x", "a": {"z": 1, "b": [None]}}
    )
    [(name, [line])] = await trail(account)
    entry = json.loads(line)
    assert uuid.UUID(entry.pop("id")).version == 4
    assert entry == {
        "a": {"b": [None], "z": 1},
        "at": "2026-11-23T12:00:00+00:00",
        "hub": "/x",
        "kind": "decided",
        "prev": "0" * 64,
        "seq": 1,
        "v": 1,
        "why": "ünï\n\ud800",
    }
    assert name == TODAY
    assert json.dumps(json.loads(line), sort_keys=True).encode() + b"\n" == line


async def test_a_line_that_no_block_holds_is_refused(account, clock):
    audit = BlobAudit(account, clock)
    with pytest.raises(StorageUnavailableError, match=r"container hubwarden-audit: a line .* \d+ bytes, more"):
        await audit.append("big", {"x": "x" * LONGEST_BLOCK})
    await audit.append("nearly", {"x": "x" * (LONGEST_BLOCK - 500)})
    await BlobAudit(account, clock).append("after", {})  # its end is further back than one looks at first
    assert [line["kind"] for line in await lines(account)] == ["nearly", "after"]
    await whole(account)


@pytest.mark.parametrize("name", ["at", "id", "kind", "prev", "seq", "v"])
async def test_details_cannot_take_the_place_of_what_is_added(account, clock, name):
    with pytest.raises(ValueError, match=f"its own {name}"):
        await BlobAudit(account, clock).append("x", {name: "forged"})


async def test_the_normal_case_is_one_request(account, clock, requests):
    audit = BlobAudit(account, clock)
    await audit.append("first", {})
    del requests[:]
    for number in range(5):
        await audit.append("n", {"number": number})
    assert requests == ["PUT appendblock"] * 5


async def test_what_comes_while_an_append_is_under_way_goes_out_as_one(account, clock, requests):
    audit = BlobAudit(account, clock)
    await audit.append("first", {})
    del requests[:]
    await asyncio.gather(*(audit.append("n", {"number": number}) for number in range(50)))
    assert requests == ["PUT appendblock"] * 2
    assert [line.get("number") for line in await lines(account)] == [None, *range(50)]
    await whole(account)


async def test_lines_that_are_too_much_for_one_block_go_out_as_several(account, clock, requests):
    audit = BlobAudit(account, clock)
    await asyncio.gather(*(audit.append("n", {"number": n, "pad": "x" * 1024 * 1024}) for n in range(9)))
    assert requests.count("PUT appendblock") >= 3
    assert [line["number"] for line in await lines(account)] == list(range(9))
    await whole(account)


# --- several at once


async def test_fifty_appends_of_two_instances_into_nothing_lose_no_line(account, other, clock):
    audits = BlobAudit(account, clock), BlobAudit(other, clock)
    await asyncio.gather(
        *(audits[number % 2].append("n", {"number": number, "pad": "x" * 3000}) for number in range(50))
    )
    found = await lines(account, TODAY)
    assert sorted(line["number"] for line in found) == list(range(50))
    assert len({line["id"] for line in found}) == 50
    await whole(account)


async def one_after_another(audit, who, count):
    for number in range(count):
        await audit.append("n", {"who": who, "number": number})


async def test_four_instances_that_append_line_by_line_make_one_chain(account, other, clock):
    audits = [BlobAudit(each, clock) for each in (account, other, account, other)]
    await asyncio.gather(*(one_after_another(audit, who, 40) for who, audit in enumerate(audits)))
    found = await lines(account)
    for who in range(4):
        assert [line["number"] for line in found if line["who"] == who] == list(range(40))
    assert (await whole(account)).lines == 160


PROCESS = """
import asyncio, sys
from hubwarden.adapters.storage.account import StorageAccount
from hubwarden.adapters.storage.audit import BlobAudit
from hubwarden.bootstrap import SystemClock

async def main(settings, who):
    account = StorageAccount({"AzureWebJobsStorage": settings})
    audit = BlobAudit(account, SystemClock())
    for ten in range(20):
        await asyncio.gather(*(audit.append("n", {"who": who, "number": 10 * ten + n}) for n in range(10)))
    await account.close()

asyncio.run(main(*sys.argv[1:]))
"""


async def test_two_processes_with_200_lines_each_make_one_chain(account, settings):
    arguments = [sys.executable, "-c", PROCESS, settings["AzureWebJobsStorage"]]
    processes = [await asyncio.create_subprocess_exec(*arguments, who) for who in ("one", "two")]
    assert [await process.wait() for process in processes] == [0, 0]
    found = await lines(account)
    for who in ("one", "two"):
        assert [line["number"] for line in found if line["who"] == who] == list(range(200))
    await whole(account)


async def test_a_trail_that_exists_is_never_begun_anew(account, other, clock):
    await BlobAudit(account, clock).append("first", {})
    with pytest.raises(ResourceExistsError):
        await BlobAudit(other, clock)._create(TODAY)
    assert [line["kind"] for line in await lines(account, TODAY)] == ["first"]


# --- a new day, a full blob


async def test_a_new_day_is_a_new_blob_and_days_are_utc(account, clock):
    audit = BlobAudit(account, clock)
    clock.moment = datetime(2026, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
    await audit.append("old", {})
    clock.forward(timedelta(microseconds=1))
    await audit.append("new", {})
    clock.moment = datetime(2027, 1, 2, 0, 30, tzinfo=timezone(timedelta(hours=1)))
    await audit.append("east", {})
    assert await names(account) == ["audit/2026/12/31.jsonl", "audit/2027/01/01.jsonl"]
    old, goes_on = await lines(account, "audit/2026/12/31.jsonl")
    assert (old["kind"], goes_on["kind"], goes_on["next"]) == ("old", "continued", "audit/2027/01/01.jsonl")
    assert [line["at"] for line in await lines(account, "audit/2027/01/01.jsonl")] == [
        "2027-01-01T00:00:00+00:00",
        "2027-01-01T23:30:00+00:00",
    ]
    assert (await whole(account)).head.seq == 4


async def test_who_remembers_yesterday_follows_who_has_begun_today(account, other, clock):
    slow, quick = BlobAudit(account, clock), BlobAudit(other, clock)
    await slow.append("slow", {})
    clock.forward(timedelta(days=3))
    await quick.append("quick", {})
    clock.forward(timedelta(days=-1))  # one's clock is behind
    await slow.append("slow", {})
    assert await names(account) == [TODAY, "audit/2026/11/26.jsonl"]
    assert [line["kind"] for line in await lines(account)] == ["slow", "quick", "slow"]
    await whole(account)


async def test_many_instances_at_midnight_make_one_chain(account, other, clock):
    audits = [BlobAudit(each, clock) for each in (account, other, account, other, account)]
    await asyncio.gather(*(audit.append("before", {}) for audit in audits))
    clock.forward(timedelta(days=1))
    await asyncio.gather(*(one_after_another(audit, who, 5) for who, audit in enumerate(audits)))
    assert await names(account) == [TODAY, "audit/2026/11/24.jsonl"]
    assert (await whole(account)).lines == 5 + 1 + 25


async def test_who_stops_between_two_blobs_is_no_harm(account, other, clock, mocker):
    audit = BlobAudit(account, clock)
    await audit.append("before", {})
    clock.forward(timedelta(days=1))
    mocker.patch.object(audit, "_create", side_effect=ServiceResponseError("stopped"))
    with pytest.raises(StorageUnavailableError, match="stopped"):
        await audit.append("never", {})
    [problem] = verify(await trail(account)).problems
    assert (problem.blob, problem.line) == ("audit/2026/11/24.jsonl", 0)
    await BlobAudit(other, clock)._create("audit/2026/11/24.jsonl")  # another one stops after that
    await BlobAudit(other, clock).append("after", {})
    assert [line["kind"] for line in await lines(account)] == ["before", "after"]
    await whole(account)


async def test_a_full_blob_is_followed_by_the_next_one(account, other, clock, requests):
    audit = BlobAudit(account, clock, blocks=4)
    for number in range(8):
        await audit.append("n", {"number": number})
    assert await names(account) == [TODAY, "audit/2026/11/23.1.jsonl", "audit/2026/11/23.2.jsonl"]
    assert [line["kind"] for line in await lines(account, TODAY)] == ["n", "n", "n", "continued"]
    await BlobAudit(other, clock, blocks=4).append("n", {"number": 8})
    assert [line["number"] for line in await lines(account)] == list(range(9))
    await whole(account)


async def test_a_blob_that_is_full_without_saying_so_is_followed_too(account, other, clock, mocker):
    append = BlobClient.append_block

    async def until_full(blob, data, **options):
        if blob.blob_name == TODAY:
            error = ResourceExistsError("full")
            error.error_code = "BlockCountExceedsLimit"
            raise error
        return await append(blob, data, **options)

    audit = BlobAudit(account, clock)
    await audit.append("before", {})
    mocker.patch.object(BlobClient, "append_block", autospec=True, side_effect=until_full)
    clock.forward(timedelta(minutes=1))
    await audit.append("after", {})
    await BlobAudit(other, clock).append("elsewhere", {})
    assert [line["kind"] for line in await lines(account)] == ["before", "after", "elsewhere"]
    assert await names(account) == [TODAY, "audit/2026/11/23.1.jsonl"]
    await whole(account)


# --- lost answers


@pytest.fixture
def lose(mocker):
    """Lose so many answers to appends; each took effect."""
    left = []
    send = AioHttpTransport.send

    async def losing(transport, request, **options):
        answer = await send(transport, request, **options)
        if left and dict(request.query).get("comp") == "appendblock" and answer.status_code in {201, 412}:
            left.pop()
            raise ServiceResponseError("the answer was lost")
        return answer

    mocker.patch.object(AioHttpTransport, "send", autospec=True, side_effect=losing)
    return lambda count: left.extend([None] * count)


async def test_an_append_whose_answer_was_lost_is_not_doubled(account, clock, lose):
    audit = BlobAudit(account, clock)
    await audit.append("first", {})
    lose(1)
    await asyncio.gather(*(audit.append("n", {"number": number}) for number in range(3)))
    await audit.append("last", {})
    assert [line.get("number", line["kind"]) for line in await lines(account)] == ["first", 0, 1, 2, "last"]
    await whole(account)


async def test_the_sign_that_the_trail_goes_on_is_not_doubled_either(account, clock, lose):
    audit = BlobAudit(account, clock)
    await audit.append("first", {})
    clock.forward(timedelta(days=1))
    lose(1)
    await audit.append("second", {})
    assert [line["kind"] for line in await lines(account, TODAY)] == ["first", "continued"]
    await whole(account)


async def test_where_no_answer_comes_everybody_is_told_and_the_chain_holds(account, clock, lose):
    audit = BlobAudit(account, clock)
    await audit.append("first", {})
    lose(2)
    outcomes = await asyncio.gather(*(audit.append("n", {"number": n}) for n in range(3)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [StorageUnavailableError, type(None), type(None)]
    await audit.append("last", {})
    assert [line.get("number", line["kind"]) for line in await lines(account)] == ["first", 0, 1, 2, "last"]
    await whole(account)


# --- what cannot be written


def refused(status, code):
    error = HttpResponseError(code)
    error.status_code, error.error_code = status, code
    return error


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (409, "BlobImmutableDueToPolicy"),
        (409, "InvalidBlobType"),
        (403, "AuthorizationPermissionMismatch"),
        (412, "LeaseIdMissing"),
        (503, "ServerBusy"),
    ],
)
async def test_whatever_keeps_lines_from_being_stored_is_told_to_all(account, clock, mocker, status, code):
    audit = BlobAudit(account, clock)
    await audit.append("first", {})
    mocker.patch.object(BlobClient, "append_block", side_effect=refused(status, code))
    outcomes = await asyncio.gather(*(audit.append("n", {}) for _ in range(4)), return_exceptions=True)
    assert [str(outcome) for outcome in outcomes] == [f"container hubwarden-audit: HTTP {status} {code}"] * 4
    assert {type(outcome) for outcome in outcomes} == {StorageUnavailableError}
    assert len({id(outcome) for outcome in outcomes}) == 4
    mocker.stopall()
    await audit.append("last", {})
    assert [line["kind"] for line in await lines(account)] == ["first", "last"]


async def test_who_always_comes_too_late_gives_up(account, other, clock, mocker):
    mocker.patch("hubwarden.adapters.storage.audit._PATIENCE", 0.5)
    audit, quicker, append = BlobAudit(account, clock), BlobAudit(other, clock), BlobClient.append_block

    async def too_late(blob, data, **options):
        if b'"slow"' in data:
            await quicker.append("quick", {})
        return await append(blob, data, **options)

    mocker.patch.object(BlobClient, "append_block", autospec=True, side_effect=too_late)
    with pytest.raises(StorageUnavailableError, match="others were always quicker"):
        await audit.append("slow", {})
    assert {line["kind"] for line in await lines(account)} == {"quick"}
    await whole(account)


async def test_a_blob_that_somebody_has_leased_takes_no_line(account, other, clock):
    audit = BlobAudit(account, clock)
    await audit.append("first", {})
    lease = await blob(other).acquire_lease()
    with pytest.raises(StorageUnavailableError, match="HTTP 412 LeaseIdMissing"):
        await audit.append("n", {})
    await lease.release()
    await audit.append("last", {})
    assert [line["kind"] for line in await lines(account)] == ["first", "last"]


async def test_who_is_broken_off_leaves_nobody_in_doubt(account, clock, mocker):
    audit = BlobAudit(account, clock)
    await audit.append("first", {})
    begun, append = asyncio.Event(), BlobClient.append_block

    async def hanging(blob, data, **options):
        begun.set()
        await asyncio.sleep(30)

    mocker.patch.object(BlobClient, "append_block", autospec=True, side_effect=hanging)
    leading = asyncio.create_task(audit.append("leading", {}))
    await begun.wait()
    waiting = [asyncio.create_task(audit.append("waiting", {"number": number})) for number in range(3)]
    await asyncio.sleep(0)
    mocker.patch.object(BlobClient, "append_block", append)
    waiting[0].cancel()
    leading.cancel()
    outcomes = await asyncio.gather(leading, *waiting, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [asyncio.CancelledError] * 2 + [type(None)] * 2
    assert [line.get("number") for line in await lines(account)] == [None, 1, 2]
    await whole(account)


# --- what others have left there


OLD = b'{"at": "2026-11-22T12:00:00+00:00", "id": "x", "kind": "finding"}\n'


async def left(account, data: bytes, name=TODAY):
    await BlobAudit(account, None)._create(name)
    await blob(account, name).append_block(data)


async def test_lines_without_a_chain_are_chained_to(account, clock):
    await left(account, OLD * 3, "audit/2026/11/22.jsonl")
    await BlobAudit(account, clock).append("new", {})
    verdict = await whole(account)
    assert (verdict.unchained, verdict.head.seq) == (3, 2)
    assert await names(account) == ["audit/2026/11/22.jsonl", TODAY]


@pytest.mark.parametrize("garbage", [OLD, b"torn", b"\n\n", b"\xff\x00\n", b"x" * 200_000 + b"\n", b"[" * 99_999])
async def test_the_trail_goes_on_after_whatever_was_put_in(account, other, clock, garbage):
    await BlobAudit(account, clock).append("before", {})
    await blob(account).append_block(garbage)
    await BlobAudit(other, clock).append("after", {})
    found = await trail(account)
    assert json.loads(found[0][1][-1])["seq"] == 2
    assert {(problem.blob, problem.line) for problem in verify(found).problems} <= {(TODAY, 2), (TODAY, 3)}
    assert not verify(found).whole


async def test_a_blob_that_was_deleted_under_us_is_told_and_stays_missing(account, clock, caplog):
    audit = BlobAudit(account, clock)
    for _ in range(3):
        await audit.append("before", {})
    await blob(account).delete_blob()
    with caplog.at_level(logging.ERROR):
        await audit.append("after", {})
    assert "the audit trail was cut: it ended with line 3, now it ends with 0" in caplog.text
    assert verify(await trail(account)).problems[0].what.startswith("the trail begins with seq 4")


async def test_what_else_lies_in_the_container_is_no_part_of_the_trail(account, clock):
    await BlobAudit(account, clock).append("first", {})
    await account.container("hubwarden-audit").upload_blob("audit/2027/notes.txt", b"x")
    await account.container("hubwarden-audit").upload_blob("planted", b"x")
    await BlobAudit(account, clock).append("second", {})
    assert await BlobTrail(account).places() == [Place.of(TODAY)]
    assert (await whole(account)).lines == 2


async def test_without_a_container_there_is_no_trail(account):
    assert await BlobTrail(account).places() == []
