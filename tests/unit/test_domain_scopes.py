"""Modes and settings per scope: by names and tags, and what holds while tags are not known."""

from __future__ import annotations

from datetime import date

import pytest
import yaml

from hypothesis import given
from hypothesis import strategies as st

from detectors import RULES
from hubwarden.domain.hub_id import HubId
from hubwarden.domain.policy import check_policy
from hubwarden.domain.rule import Mode
from hubwarden.domain.where import ASKED, Scope


SUBSCRIPTION = "0b1f6471-1bf0-4dda-aec3-cb9272f09590"
HUB = HubId(SUBSCRIPTION, "plant-1", "hub-one")
RULE = RULES[0]
PROD, TEST, NONE = {"Env": "Prod"}, {"env": "test"}, {}


def policy(*scopes, mode="report", **settings):
    document = {
        "version": 1,
        "subscriptions": [SUBSCRIPTION],
        "rules": {RULE.id: {"mode": str(mode), "settings": settings, "scopes": list(scopes)}},
    }
    made, problems = check_policy(yaml.safe_dump(document), RULES, today=date(2026, 11, 23))
    assert made is not None, problems
    return made


def scope(mode=None, settings=None, **where):
    return {"where": where} | ({"mode": str(mode)} if mode else {}) | ({"settings": settings} if settings else {})


@pytest.mark.parametrize(
    ("where", "tags", "covered"),
    [
        ({}, None, True),
        ({}, {}, True),
        ({"tags": {"env": "prod"}}, PROD, True),
        ({"tags": {"ENV": "PR*"}}, PROD, True),
        ({"tags": {"env": "prod"}}, TEST, False),
        ({"tags": {"env": "*"}}, NONE, False),
        ({"tags": {"env": "prod"}}, None, None),
        ({"tags": {"env": "prod", "team": "flow"}}, PROD, False),
        ({"tags": {"env": "prod", "team": "f?ow"}}, {"ENV": "prod", "Team": "Flow"}, True),
        ({"tags": {"env": "*"}}, {"env": None}, False),
        ({"tags": {"env": "*"}}, {"env": ""}, True),
        ({"tags": {"team": "core [prod]"}}, {"team": "Core [prod]"}, True),
        ({"tags": {"team": "core [prod]"}}, {"team": "core p"}, False),
        ({"tags": {"team": "[[]*"}}, {"team": "[[] x"}, True),
        ({"tags": {"team": "[!a]"}}, {"team": "b"}, False),
        ({"resource_group": "plant-[1]"}, NONE, False),
        ({"hub": "other", "tags": {"env": "prod"}}, None, False),
        ({"hub": "HUB-*", "tags": {"env": "prod"}}, PROD, True),
        ({"resource_group": "plant-2", "tags": {"env": "prod"}}, PROD, False),
    ],
)
def test_a_scope_covers_hubs_by_names_and_tags_without_case(where, tags, covered):
    assert Scope(**where).covers(HUB, tags) is covered


def test_the_first_scope_that_matches_sets_the_mode_and_a_scope_without_one_leaves_it():
    made = policy(
        scope(settings={"absent": "compliant"}, hub="hub-one", tags={"env": "test"}),
        scope("off", tags={"env": "test"}),
        scope("auto", resource_group="plant-*"),
        mode="ticket",
    )
    assert made.mode_of(RULE.id, HUB, TEST) is Mode.TICKET
    assert made.mode_of(RULE.id, HubId(SUBSCRIPTION, "plant-1", "two"), TEST) is Mode.OFF
    assert made.mode_of(RULE.id, HUB, PROD) is Mode.AUTO
    assert made.mode_of(RULE.id, HubId(SUBSCRIPTION, "rg", "two"), PROD) is Mode.TICKET
    assert str(made.wish_for(RULE.id, HUB, PROD)) == "policy rules.tls-minimum.scopes[2].mode is auto"
    assert str(made.wish_for(RULE.id, HUB, TEST)) == "policy rules.tls-minimum.mode is ticket"
    assert made.settings_of(RULE, HUB, TEST).absent == "compliant"
    assert made.settings_of(RULE, HUB, PROD).absent == "drift"


def test_settings_of_a_scope_by_tags_do_not_hold_while_tags_are_not_known():
    made = policy(scope(settings={"minimum": "1.3"}, tags={"env": "prod"}))
    assert made.settings_of(RULE, HUB, PROD).minimum == "1.3"
    assert made.settings_of(RULE, HUB, None).minimum == "1.2"


@pytest.mark.parametrize(
    ("prod", "others", "unknown"),
    [
        ("auto", "report", "report"),
        ("report", "auto", "report"),
        ("approve", "auto", "approve"),
        ("auto", "ticket", "ticket"),
        ("off", "auto", "report"),
        ("auto", "off", "report"),
        ("off", "report", "report"),
        ("off", "off", "off"),
        ("auto", "auto", "auto"),
    ],
)
def test_while_tags_are_not_known_the_least_of_what_is_possible_is_done_but_nothing_is_hidden(
    prod, others, unknown
):
    made = policy(scope(prod, tags={"env": "prod"}), mode=others)
    assert (made.mode_of(RULE.id, HUB, PROD), made.mode_of(RULE.id, HUB, NONE)) == (prod, others)
    wish = made.wish_for(RULE.id, HUB, None)
    assert wish.mode == unknown
    assert wish.sure is (prod == others)
    assert ("tags are not known" in str(wish)) is not wish.sure


TAGS = [{}, {"env": "prod"}, {"env": "test"}, {"team": "flow"}, {"env": "prod", "team": "flow"}]
wheres = st.fixed_dictionaries(
    {},
    optional={
        "hub": st.sampled_from(["*", "hub-*", "other"]),
        "tags": st.dictionaries(
            st.sampled_from(["env", "TEAM"]), st.sampled_from(["prod", "flow", "*"]), max_size=2
        ),
    },
)


@given(
    st.lists(st.tuples(wheres, st.sampled_from([None, *Mode])), max_size=4),
    st.sampled_from(list(Mode)),
    st.sampled_from(TAGS),
)
def test_what_is_not_known_never_lets_a_machine_do_more_than_any_tags_would(scopes, mode, tags):
    made = policy(*(scope(mode_, **where) for where, mode_ in scopes), mode=mode)
    order = list(Mode)
    known, unknown = made.mode_of(RULE.id, HUB, tags), made.mode_of(RULE.id, HUB, None)
    if known is Mode.OFF:
        assert unknown in {Mode.OFF, Mode.REPORT}
    else:
        assert unknown is not Mode.OFF
        assert order.index(unknown) <= order.index(known)
        assert made.is_on(RULE.id)


def test_a_rule_is_on_where_any_scope_is():
    assert not policy(mode="off").is_on(RULE.id)
    assert not policy(scope("off", hub="a"), scope(hub="b"), mode="off").is_on(RULE.id)
    assert policy(scope("report", tags={"env": "prod"}), mode="off").is_on(RULE.id)
    assert policy(mode="off").is_on("diagnostics")


def test_of_a_hubs_tags_those_alone_are_kept_that_the_file_asks_about():
    made = policy(scope("auto", tags={"ENV": "prod"}))
    tags = {"Env": "prod", "managed-by": "terraform", "owner": "jane@example.com", "odd": 5}
    read = made.tags_to_keep(tags)
    assert read.pop(ASKED).split("\n") == ["env", "managed-by", "managedby", "pulumi", "terraform"]
    assert read == {"Env": "prod", "managed-by": "terraform"}
    assert made.tags_to_keep(None) is None


def test_what_nobody_asked_about_when_the_tags_were_kept_is_not_known():
    read = policy(scope("auto", tags={"env": "prod"})).tags_to_keep({"Env": "prod", "Tier": "gold"})
    after = policy(scope("report", tags={"TIER": "gold"}), mode="auto")
    assert after.tags_not_read(read) == ["tier"]
    wish = after.wish_for(RULE.id, HUB, read)
    assert (wish.mode, wish.sure) == (Mode.REPORT, False)
    assert after.mode_of(RULE.id, HUB, after.tags_to_keep({"Tier": "silver"})) is Mode.AUTO
    assert policy(scope("auto", tags={"env": "prod"})).mode_of(RULE.id, HUB, read) is Mode.AUTO


def test_a_marker_that_nobody_asked_about_when_the_tags_were_kept_is_not_known():
    read = policy().tags_to_keep({"bicep": "yes"})
    assert policy().markers_known(read)
    after = policy().model_copy(update={"iac_markers": ["Bicep"]})
    assert not after.markers_known(read)
    assert after.markers_known({})
