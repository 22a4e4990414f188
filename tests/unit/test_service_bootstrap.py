"""The service, composed, over fakes: what a broken policy file stops, and what it does not; and the settings."""

from __future__ import annotations

import base64
import json
import logging

from datetime import timedelta

import pytest

from hypothesis import given
from hypothesis import strategies as st

from detectors import RULES as DETECTORS
from hubwarden.adapters.azure.cloud import CLOUDS
from hubwarden.adapters.azure.read_only import ReadOnlyHubs
from hubwarden.bootstrap import Hubwarden, SystemClock
from hubwarden.domain.finding import Actor, State
from hubwarden.domain.message import Kind
from hubwarden.service.messages import EvaluateMessage, Queue, RemediateMessage, SweepMessage, VerifyMessage
from hubwarden.settings import Settings, SettingsError
from tests.unit.fakes import HUB, OWN, RULES, SUB, FakeChannel, FakeOutbox, World, arm_event, ask


GOOD = f"version: 1\nsubscriptions: [{SUB}]\nrules:\n  tls-minimum: {{mode: auto}}\n"
EXPIRED = f"exemptions:\n  - {{rule: tls-minimum, hub: {HUB.path}, until: 2026-11-22, reason: r, owner: o}}\n"
BROKEN = {
    "missing": None,
    "no yaml": "version: 1\n\tsubscriptions: [",
    "unknown key": GOOD + "nonsense: 1\n",
    "unknown rule": GOOD + "accept_risk: [no-such-rule]\n",
    "empty": "",
    "no subscription": "version: 1\nsubscriptions: []\n",
    "bytes": b"\xff\xfe\x00version",
}
MESSAGES = [
    ask(),
    SweepMessage(subscription=SUB),
    RemediateMessage(hub=HUB.path, attempt=3),
    VerifyMessage(hub=HUB.path, digest="sha256:x", give_up_at=ask().asked_at),
]


class FakeCredential:
    """A token that says who we are; ``works`` false: none is to be had."""

    def __init__(self, *, works=True):
        self.works, self.asked = works, 0

    async def get_token(self, *_scopes, **_options):
        self.asked += 1
        if not self.works:
            raise ConnectionError("no managed identity here")

        def part(value):
            return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

        claims = {"oid": OWN.object_id, "appid": OWN.app_id}
        token = f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{part(claims)}.{part('x')}"
        return type("Token", (), {"token": token, "expires_on": 0})()


@pytest.fixture
def composed(tmp_path):
    def make(text, *, credential=None, rules=RULES, channels=None, **env):
        path = tmp_path / "policy.yaml"
        if text is not None:
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
        world = World()
        world.outbox = FakeOutbox(world.gates, world.log) if channels else None
        service = Hubwarden(
            {"HUBWARDEN_POLICY": str(path), "AzureWebJobsStorage": "UseDevelopmentStorage=true", **env},
            credential=credential or FakeCredential(), hubs=world.hubs, findings=world.findings,
            records=world.records, work=world.work, audit=world.audit, graveyard=world.graveyard,
            lists=world.lists, tickets=world.tickets, remediations=world.remediations, safety=world.safety,
            state=world.schema, clock=world.clock, dead_letters=world.dead_letters, rules=rules,
            outbox=world.outbox, channels=channels,
        )  # fmt: skip
        return service, world

    return make


async def run(service, world):
    for _ in range(100):
        if not world.work.letters:
            return
        letter = min(world.work.letters, key=lambda letter: letter.due)
        world.work.letters.remove(letter)
        world.clock.at = max(world.clock.at, letter.due)
        await service.on_message(letter.queue, letter.text)


async def test_from_the_event_to_the_proof(composed):
    service, world = composed(GOOD)
    world.hubs.add()
    await service.on_event(world.hubs.change())
    await run(service, world)
    assert world.state() is State.RESOLVED
    assert world.tls() == "1.2"
    assert (await service.on_health())["ready"]
    assert not world.violations


GITHUB = "tickets: {target: github, github: {repository: example/iot}}\n"
ROLES = "approvals: {required_roles: [ops]}\n"
SIGNED_IN = {"WEBSITE_AUTH_ENABLED": "true"}


@pytest.mark.parametrize(
    ("more", "env", "linked"),
    [
        ("", {}, True),
        (GITHUB, {}, False),
        (GITHUB + ROLES, {}, False),
        (GITHUB, SIGNED_IN, False),
        (GITHUB + ROLES, SIGNED_IN, True),
    ],
)
async def test_a_link_stands_in_tickets_only_where_it_is_of_no_use_to_strangers(composed, more, env, linked):
    keys = {"HUBWARDEN_APPROVAL_KEYS": "k" * 40, "HUBWARDEN_PUBLIC_URL": "https://app.example"}
    service, _ = composed(GOOD + more, **keys, **env)
    assert (service.ports.ticket_links is not None) is linked
    assert service.ports.links is not None
    warned = any("nobody can decide" in warning for warning in (await service.on_health())["warnings"])
    assert warned is (ROLES in more and not env)


async def test_where_nothing_may_be_changed_the_wall_is_up_and_health_says_so(composed):
    service, world = composed(GOOD + "enforcement: observe\n")
    world.hubs.add(minTlsVersion="1.0")
    assert isinstance(service.ports.hubs, ReadOnlyHubs)
    await service.on_sweep()
    await run(service, world)
    assert world.state() is State.TICKETED
    assert not world.hubs.effective
    assert (await service.on_health())["enforcement"] == "observe"
    service, _ = composed(GOOD)
    assert not isinstance(service.ports.hubs, ReadOnlyHubs)
    assert (await service.on_health())["enforcement"] == "enforce"


async def test_a_sweep(composed):
    service, world = composed(GOOD)
    world.hubs.add(minTlsVersion="1.0")
    await service.on_sweep()
    await run(service, world)
    assert world.state() is State.RESOLVED
    last = (await service.on_health())["last_sweep"]
    assert last["summary"] == "evaluated 1 of 1 facets on 1 of 1 hubs, 1 with drift"


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
async def test_with_a_broken_policy_file_events_are_kept_and_nothing_is_judged(composed, text, caplog):
    service, world = composed(text)
    world.hubs.add()
    await service.on_event(world.hubs.change())
    assert [type(letter.message) for letter in world.work.letters] == [EvaluateMessage]
    kept = world.work.letters[0].message
    with caplog.at_level(logging.CRITICAL):
        for _ in range(20):  # however often, it is neither lost nor poisoned
            letter = world.work.letters.pop()
            await service.on_message(letter.queue, letter.text)
            assert [(m.message, m.due > world.clock.at + timedelta(minutes=4)) for m in world.work.letters] == [
                (kept, True)
            ]
            assert world.work.sent[-1][1] == timedelta(minutes=5)
        await service.on_sweep()
    assert not world.hubs.calls
    assert not world.work.poison
    said = await service.on_health()
    assert said["ready"] is False
    assert "policy.yaml: " in said["reason"]
    assert said["last_sweep"]["complete"] is False
    assert said["last_sweep"]["unknown"] == {"policy": said["reason"]}


async def test_a_missing_file_names_the_setting_and_a_wrong_one_its_lines(composed):
    assert "HUBWARDEN_POLICY" in composed(None)[0].not_ready
    service, _ = composed(GOOD + "nonsense: 1\naccept_risk: 7\n")
    assert [line.partition("policy.yaml: ")[2] for line in service.not_ready.splitlines()] == [
        "line 5, nonsense: is not a key that is known here",
        "line 6, accept_risk: must be a list, found 7",
    ]


async def test_an_exemption_that_expired_is_a_warning_and_holds_no_more(composed):
    service, world = composed(GOOD + EXPIRED)
    assert service.not_ready is None
    await service.on_sweep()
    said = await service.on_health()
    assert said["ready"]
    assert len(said["warnings"]) == 1
    assert "line 6" in said["warnings"][0]
    assert "expired on 2026-11-22" in said["warnings"][0]
    world.hubs.add(minTlsVersion="1.0")
    await service.on_sweep()
    await run(service, world)
    assert world.state() is State.RESOLVED


async def test_no_warnings_where_nothing_is_wrong(composed):
    service, _ = composed(GOOD)
    await service.on_sweep()
    assert (await service.on_health())["warnings"] == []


async def test_a_key_that_is_a_reference_closes_its_way_and_health_and_the_log_say_so(composed, caplog):
    caplog.set_level(logging.WARNING, "hubwarden.bootstrap")  # the command line turns it down
    reference = "@Microsoft.KeyVault(SecretUri=https://kv.vault.azure.net/secrets/approval-keys)"
    service, _ = composed(GOOD, HUBWARDEN_APPROVAL_KEYS=reference, HUBWARDEN_PUBLIC_URL="https://app.example")
    await service.on_sweep()
    assert service.ports.links is None
    (warning,) = (await service.on_health())["warnings"]
    assert "HUBWARDEN_APPROVAL_KEYS is a reference that is not resolved" in warning
    assert warning in caplog.text


SCOPED = "  defender-devices: {scopes: [{where: {hub: '*-1'}, settings: {grace_minutes: 50}}]}\n"
DEVICE = {"eventType": "Microsoft.Devices.DeviceCreated", "topic": HUB.path.upper(), "data": {}}


@pytest.mark.parametrize(
    ("text", "grace"),
    [
        (f"{GOOD}  defender-devices: {{settings: {{grace_minutes: 40}}}}\n", 40),
        (GOOD, 15),
        (GOOD + SCOPED, 50),
        ("version: broken", 15),
        (f'{GOOD}  defender-devices: {{mode: "off"}}\n', None),
    ],
)
async def test_new_devices_are_counted_after_their_grace_where_a_rule_asks_for_devices(composed, text, grace):
    service, world = composed(text, rules=DETECTORS)
    await service.on_device_event(DEVICE)
    delays = [delay for message, delay in world.work.sent if isinstance(message, EvaluateMessage)]
    assert delays == ([] if grace is None else [timedelta(minutes=grace)])


@pytest.mark.parametrize(("kept", "email"), [("", None), ("keep_emails: true\n", "jo@example.com")])
async def test_an_e_mail_address_is_kept_only_where_the_policy_file_says_so(composed, kept, email):
    service, world = composed(kept + GOOD)
    event = arm_event()
    event["data"]["claims"]["http://schemas.xmlsoap.org/ws/2005/05/identity/claims/upn"] = "jo@example.com"
    await service.on_event(event)
    [message] = world.work.of(EvaluateMessage)
    assert message.actor.email == email
    assert ("jo@example.com" in message.model_dump_json()) is (email is not None)


@pytest.mark.parametrize("text", [GOOD, None], ids=["ready", "not ready"])
@pytest.mark.parametrize("queue", Queue)
async def test_what_is_no_message_goes_to_poison_at_once_and_unchanged(composed, text, queue, caplog):
    service, world = composed(text)
    with caplog.at_level(logging.CRITICAL):
        await service.on_message(queue, "{garbage")
        await service.on_poison(queue, "{garbage")
    assert world.work.poison == [(queue, "{garbage")]
    assert not world.work.letters
    assert [(kept[0], kept[1]) for kept in world.graveyard.buried] == [(queue, "{garbage")]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
async def test_every_kind_of_message_is_put_off_whole_while_not_ready(composed, message, caplog):
    from hubwarden.service.messages import queue_of

    service, world = composed(None)
    with caplog.at_level(logging.CRITICAL):
        await service.on_message(queue_of(message), message.model_dump_json())
    assert world.work.sent == [(message, timedelta(minutes=5))]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
async def test_every_kind_of_message_has_its_use_case(composed, message):
    from hubwarden.service.messages import queue_of

    service, world = composed(GOOD)
    world.hubs.add(minTlsVersion="1.0")
    await service.on_message(queue_of(message), message.model_dump_json())
    assert not world.work.poison
    assert world.gates.calls


CLOUD_DEVICE = {"specversion": "1.0", "type": DEVICE["eventType"], "source": DEVICE["topic"], "data": {}}


@pytest.mark.parametrize("device", [DEVICE, CLOUD_DEVICE])
@pytest.mark.parametrize("text", [GOOD, "nonsense"])
async def test_dead_letters_go_the_way_of_their_kind_even_while_the_policy_file_is_broken(composed, text, device):
    service, world = composed(text, rules=DETECTORS)
    world.dead_letters.leave([arm_event(), device, arm_event(by=OWN.object_id), {"type": "Some.Other"}])
    await service.on_dead_letters()
    assert [message.cause for message in world.work.of(EvaluateMessage)] == [
        "event Microsoft.Devices/IotHubs/write",
        "event Microsoft.Devices.DeviceCreated",
    ]
    assert not world.dead_letters.blobs
    assert not world.dead_letters.aside


async def test_health_warns_of_dead_letters(composed):
    service, world = composed(GOOD)
    assert not [w for w in (await service.on_health())["warnings"] if "Event Grid" in w or "dead letter" in w]
    world.dead_letters.leave([arm_event()])
    aside = world.dead_letters.leave(b"x")
    world.dead_letters.aside[aside] = "it is no JSON"
    warnings = (await service.on_health())["warnings"]
    assert any("1 file(s) of events that Event Grid could not deliver" in w and "since 2026-11-23" in w
               for w in warnings)  # fmt: skip
    assert any("1 dead letter(s) cannot be read" in w for w in warnings)


async def test_health_is_there_without_a_right_on_dead_letters(composed):
    service, world = composed(GOOD)
    world.dead_letters.down = True
    warnings = (await service.on_health())["warnings"]
    assert any("could not deliver events is not known: container hubwarden-deadletters" in w for w in warnings)


async def test_our_own_events_are_dropped_and_the_token_is_asked_for_once(composed):
    credential = FakeCredential()
    service, world = composed(GOOD, credential=credential)
    for _ in range(3):
        await service.on_event(arm_event(by=OWN.object_id))
    assert not world.work.letters
    assert credential.asked == 1


async def test_without_a_token_no_event_is_lost_and_the_next_one_asks_again(composed):
    credential = FakeCredential(works=False)
    service, world = composed(GOOD, credential=credential)
    await service.on_event(arm_event(by=OWN.object_id))
    assert len(world.work.letters) == 1
    credential.works = True
    await service.on_event(arm_event(by=OWN.object_id))
    assert len(world.work.letters) == 1
    assert service._events.own == Actor(OWN.object_id, OWN.app_id)


def test_the_systems_clock_is_utc():
    assert SystemClock().now().utcoffset() == timedelta(0)


# --- settings

CUSTOM = {
    "HUBWARDEN_CLOUD": "custom",
    "HUBWARDEN_ARM_ENDPOINT": "https://127.0.0.1:8443",
    "HUBWARDEN_ARM_AUDIENCE": "https://arm.example",
    "HUBWARDEN_AUTHORITY": "https://127.0.0.1:8444",
}


def test_nothing_need_be_set():
    read = Settings.read({})
    assert str(read.policy_file) == "policy.yaml"
    assert read.cloud is CLOUDS["public"]
    assert read.claim == timedelta(seconds=60)
    assert Settings.read(dict.fromkeys((*CUSTOM, "HUBWARDEN_POLICY", "HUBWARDEN_CLAIM_SECONDS"), "")) == read


@pytest.mark.parametrize("name", CLOUDS)
def test_each_cloud_has_its_name(name):
    assert Settings.read({"HUBWARDEN_CLOUD": name}).cloud is CLOUDS[name]


def test_a_cloud_of_ones_own():
    cloud = Settings.read(CUSTOM).cloud
    assert (cloud.arm, cloud.audience, cloud.authority) == tuple(list(CUSTOM.values())[1:])
    assert cloud.custom
    assert cloud.data_plane == "https://{hostName}"
    template = "https://127.0.0.1:8443/_dataplane/{hostName}"
    assert Settings.read(CUSTOM | {"HUBWARDEN_DATA_PLANE": template}).cloud.data_plane == template


@pytest.mark.parametrize(("env", "says"), [
    ({"HUBWARDEN_CLOUD": "mars"}, "HUBWARDEN_CLOUD is 'mars'; allowed are public, usgov, china, custom"),
    (CUSTOM | {"HUBWARDEN_DATA_PLANE": "http://{hostName}"}, "allowed is an https:// address with {hostName} in"),
    (CUSTOM | {"HUBWARDEN_DATA_PLANE": "https://x/"}, "HUBWARDEN_DATA_PLANE is 'https://x/'; allowed is"),
    ({"HUBWARDEN_CLOUD": "custom"}, ", ".join(list(CUSTOM)[1:])),
    (CUSTOM | {"HUBWARDEN_AUTHORITY": ""}, "these must be set too: HUBWARDEN_AUTHORITY"),
    (CUSTOM | {"HUBWARDEN_ARM_ENDPOINT": "http://x"}, "must begin with https://: HUBWARDEN_ARM_ENDPOINT"),
    *[({"HUBWARDEN_CLAIM_SECONDS": bad}, f"HUBWARDEN_CLAIM_SECONDS is {bad!r}; allowed is 45 to 3600")
      for bad in ("34", "3601", "-60", "60.0", "1e2", "x", " 60", "²", "\uff16\uff10", "9" * 5000, "60\n")],
])  # fmt: skip
def test_a_bad_value_is_said_in_one_clear_line(env, says):
    with pytest.raises(SettingsError) as caught:
        Settings.read(env)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("seconds", ["45", "3600", "0060"])
def test_a_claim_is_as_long_as_it_says(seconds):
    assert Settings.read({"HUBWARDEN_CLAIM_SECONDS": seconds}).claim == timedelta(seconds=int(seconds))


@given(env=st.dictionaries(st.sampled_from([*CUSTOM, "HUBWARDEN_POLICY", "HUBWARDEN_CLAIM_SECONDS"]), st.text()))
def test_settings_are_read_or_refused(env):
    try:
        assert timedelta(seconds=45) <= Settings.read(env).claim <= timedelta(hours=1)
    except SettingsError as error:
        assert str(error).isprintable() or "'" in str(error)  # noqa: PT017


async def test_a_sweep_drops_what_is_too_old_to_be_rolled_back(composed):
    service, world = composed(GOOD)
    world.hubs.add()
    await world.drift()
    await world.run()
    assert len(world.remediations.all) == 1
    await service.on_sweep()
    assert len(world.remediations.all) == 1
    world.clock.turn(days=91)
    await service.on_sweep()
    assert world.remediations.all == []


async def test_a_sweep_wakes_the_channels_for_which_something_waits(composed):
    notify = "notify: {channels: {ops: {kind: slack}}, routes: [{channels: [ops], events: [fixed]}]}\n"
    channel = FakeChannel()
    service, world = composed(GOOD + notify, channels={"ops": channel})
    world.hubs.add()
    await service.on_event(world.hubs.change())
    while not world.outbox.rows:
        letter = world.work.letters.pop(0)
        world.clock.at = max(world.clock.at, letter.due)
        await service.on_message(letter.queue, letter.text)
    world.work.letters.clear()
    world.clock.turn(hours=1)
    await service.on_sweep()
    await run(service, world)
    assert [message.kind for message in channel.sent] == [Kind.FIXED]
