from __future__ import annotations

import contextlib
import string

import pytest

from hypothesis import assume, example, given
from hypothesis import strategies as st

from hubwarden.domain.hub_id import HubId, NotAHubError


SUBSCRIPTION = "0b1f6471-1bf0-4dda-aec3-cb9272f09590"
HUB = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/Rg.One_(x)-1/providers/Microsoft.Devices/IotHubs/Hub-One"
ONE = HubId(SUBSCRIPTION, "rg.one_(x)-1", "hub-one")

names = st.text(string.ascii_letters + string.digits + "-", min_size=1, max_size=50)
groups = st.text(string.ascii_letters + string.digits + "._()-", min_size=1, max_size=90).filter(
    lambda text: not text.endswith(".")
)
hub_ids = st.builds(HubId, st.uuids().map(str), groups, names)


@st.composite
def recased(draw, text: str):
    upper = draw(st.lists(st.booleans(), min_size=len(text), max_size=len(text)))
    return "".join(c.upper() if up else c.lower() for c, up in zip(text, upper, strict=True))


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(HUB, id="as ARM writes it"),
        pytest.param(HUB.lower(), id="lower case"),
        pytest.param(HUB.upper(), id="the topic of an IoT event"),
        pytest.param(HUB.replace("resourceGroups", "resourcegroups"), id="as lists write it"),
        pytest.param(f"{HUB}/", id="trailing slash"),
        pytest.param(f"{HUB}/certificates/root", id="child"),
        pytest.param(f"{HUB}/eventHubEndpoints/events/ConsumerGroups/x", id="grandchild"),
        pytest.param(f"{HUB}/IotHubKeys/iothubowner", id="policy"),
        pytest.param(f"{HUB}/providers/microsoft.insights/diagnosticSettings/x", id="diagnostic setting"),
        pytest.param(f"{HUB}/providers/Microsoft.Authorization/locks/a lock..", id="lock"),
    ],
)
def test_names_the_hub(text):
    assert HubId.parse(text) == ONE


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("/", id="slash"),
        pytest.param("Hub-One", id="bare name"),
        pytest.param(HUB[1:], id="no leading slash"),
        pytest.param(f"https://management.azure.com{HUB}", id="url"),
        pytest.param(f" {HUB}", id="leading space"),
        pytest.param(f"{HUB} ", id="trailing space"),
        pytest.param(f"{HUB}\n", id="trailing newline"),
        pytest.param(f"{HUB}/certificates/a\nb", id="newline in a child"),
        pytest.param(f"{HUB}/\x7f", id="DEL"),
        pytest.param(f"{HUB}\x00", id="NUL"),
        pytest.param(f"{HUB}?api-version=2023-06-30", id="query"),
        pytest.param(f"{HUB}/../Hub-Two", id="climbs"),
        pytest.param(f"{HUB}/certificates/../../Hub-Two", id="climbs from a child"),
        pytest.param(f"{HUB}/..", id="climbs at the end"),
        pytest.param(f"{HUB}/./x", id="dot"),
        pytest.param(HUB.replace("Rg.One_(x)-1", ".."), id="climbing group"),
        pytest.param(HUB.replace("Rg.One_(x)-1", "rg."), id="group ends with a full stop"),
        pytest.param(HUB.replace("Rg.One_(x)-1", "a/b"), id="group with a slash"),
        pytest.param(HUB.replace("Rg.One_(x)-1", ""), id="no group"),
        pytest.param(HUB.replace("Rg.One_(x)-1", "a%2fb"), id="percent-encoded"),
        pytest.param(HUB.replace("Rg.One_(x)-1", "g" * 91), id="over-long group"),
        pytest.param(HUB.replace("Hub-One", "h" * 101), id="over-long name"),
        pytest.param(HUB.replace("Hub-One", ""), id="no name"),
        pytest.param(HUB.replace("/Hub-One", ""), id="the type alone"),
        pytest.param(HUB.replace("Hub-One", "hub_one"), id="underscore"),
        pytest.param(HUB.replace("Hub-One", "h\u00fcb"), id="umlaut in a name"),
        pytest.param(HUB.replace("Hub-One", "\u212aey"), id="Kelvin sign is no k"),
        pytest.param(HUB.replace("IotHubs", "\u0131othubs"), id="dotless i is no i"),
        pytest.param(HUB.replace("Devices", "device\u017f"), id="long s is no s"),
        pytest.param(HUB.replace("IotHubs", "provisioningServices"), id="provisioning service"),
        pytest.param(HUB.replace("IotHubs", "IotHubsX"), id="type with a tail"),
        pytest.param(HUB.replace("Microsoft.Devices", "MicrosoftxDevices"), id="the dot is a dot"),
        pytest.param(HUB.replace("Microsoft.Devices/IotHubs", "Microsoft.Storage/storageAccounts"), id="storage"),
        pytest.param(
            f"/subscriptions/{SUBSCRIPTION}/resourceGroups/g/providers/Microsoft.Resources/deployments/d{HUB}",
            id="a deployment that names a hub",
        ),
        pytest.param(f"/subscriptions/{SUBSCRIPTION}/resourceGroups/g", id="group alone"),
        pytest.param(f"/subscriptions/{SUBSCRIPTION}", id="subscription alone"),
        pytest.param(f"/providers/Microsoft.Management/managementGroups/m{HUB}", id="management group"),
    ],
)
def test_names_no_hub(text):
    with pytest.raises(NotAHubError):
        HubId.parse(text)


def test_the_error_quotes_no_more_than_a_line():
    with pytest.raises(NotAHubError) as caught:
        HubId.parse("x" * 100_000)
    assert len(str(caught.value)) < 300


def test_the_longest_names_are_taken():
    text = HUB.replace("Rg.One_(x)-1", "g" * 90).replace("Hub-One", "h" * 100)
    assert HubId.parse(text).path == text.lower()


@given(hub_ids)
def test_path_and_parse_are_inverse(hub):
    assert HubId.parse(hub.path) == hub
    assert str(hub) == hub.path == hub.path.lower()


@given(hub_ids.flatmap(lambda hub: st.tuples(st.just(hub), recased(hub.path))))
def test_casing_makes_no_difference(case):
    hub, text = case
    assert HubId.parse(text) == hub
    assert hash(HubId.parse(text)) == hash(hub)


@given(hub_ids, hub_ids)
def test_other_hubs_are_other_values(one, two):
    assert (one == two) is (one.path == two.path)


@pytest.mark.parametrize("group", ["Größe", "İstanbul", "ΑΣ", "资源组", "Ünïcode-1", "\u212aelvin", "ſtraße"])  # noqa: RUF001
def test_unicode_groups_survive_a_round_trip(group):
    hub = HubId.parse(HUB.replace("Rg.One_(x)-1", group))
    assert HubId.parse(hub.path) == hub
    assert len(hub.resource_group) == len(group)


def test_unicode_groups_are_compared_without_case():
    assert HubId.parse(HUB.replace("Rg.One_(x)-1", "ÄÖ")) == HubId.parse(HUB.replace("Rg.One_(x)-1", "äö"))


@pytest.mark.parametrize(("group", "lookalike"), [("\u212a", "k"), ("ſ", "s"), ("İ", "i"), ("ı", "i")])  # noqa: RUF001
def test_a_lookalike_is_another_group(group, lookalike):
    one, two = (HubId.parse(HUB.replace("Rg.One_(x)-1", text)) for text in (group, lookalike))
    assert one != two


SEEDS = [HUB, HUB.upper(), f"{HUB}/certificates/x", HUB.replace("Rg.One_(x)-1", "Größe")]


@st.composite
def damaged(draw):
    text = draw(st.sampled_from(SEEDS))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(st.text(max_size=2)) + text[at + draw(st.integers(0, 2)) :]
    return text


@given(st.one_of(st.text(), damaged()))
@example(HUB.replace("Hub-One", "\u212aey"))
@example(HUB.replace("Rg.One_(x)-1", "İ"))
def test_never_names_what_the_text_does_not_begin_with(text):
    try:
        hub = HubId.parse(text)
    except NotAHubError:
        return
    start = text[: len(hub.path)]
    assert start.casefold() == hub.path.casefold()
    assert text[len(hub.path) :][:1] in {"", "/"}


@given(hub_ids, st.text(max_size=20))
def test_a_longer_name_is_another_hub(hub, tail):
    assume(tail and not tail.startswith("/"))
    with contextlib.suppress(NotAHubError):
        assert HubId.parse(hub.path + tail) != hub
