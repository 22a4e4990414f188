# ruff: noqa: E501  a table of bad files reads best with a file a line
from __future__ import annotations

import contextlib
import copy
import itertools

from datetime import UTC, date, datetime

import jsonschema
import pytest
import yaml

from hypothesis import example, given
from hypothesis import strategies as st

from detectors import RULES
from hubwarden.domain.hub_id import HubId
from hubwarden.domain.policy import Policy, PolicyError, check_policy, load_policy, policy_schema
from hubwarden.domain.rule import Mode


TODAY = date(2026, 11, 23)
SUBSCRIPTION = "0b1f6471-1bf0-4dda-aec3-cb9272f09590"
HUB = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/Rg/providers/Microsoft.Devices/IotHubs/Hub-One"
GOOD = f"""\
version: 1
subscriptions:
  - {SUBSCRIPTION.upper()}
rules:
  tls-minimum:
    mode: auto
    settings:
      minimum: "1.2"
      absent: drift
exemptions:
  - rule: tls-minimum
    hub: {HUB}
    until: 2026-11-23
    reason: a migration
    owner: jo@example.com
accept_risk: [tls-minimum]
tickets:
  target: builtin
"""
SHORT = f"version: 1\nsubscriptions: [{SUBSCRIPTION}]\n"
ONE = HubId.parse(HUB)
RULE = RULES[0]
KNOWN = ", ".join(sorted(rule.id for rule in RULES))


def load(text):
    return load_policy(text, RULES, today=TODAY)


def told(text):
    """What is wrong with the file, as (line, path, message)."""
    with pytest.raises(PolicyError) as caught:
        load(text)
    problems = caught.value.problems
    assert problems
    assert [problem.line for problem in problems] == sorted(problem.line for problem in problems)
    assert len(str(caught.value)) < 2000
    return [(problem.line, problem.path, problem.message) for problem in problems]


def test_a_good_file():
    policy = load(GOOD)
    assert policy.subscriptions == [SUBSCRIPTION]
    assert policy.mode_of("tls-minimum", ONE, {}) is Mode.AUTO
    assert policy.settings_of(RULE, ONE) == RULE.settings(minimum="1.2", absent="drift")
    assert policy.accept_risk == ["tls-minimum"]
    assert policy.tickets.target == "builtin"
    assert policy.exemptions[0].hub == ONE.path


def test_the_shortest_file_reports():
    policy = load(SHORT)
    assert policy.mode_of("tls-minimum", ONE, {}) is Mode.REPORT
    assert policy.settings_of(RULE, ONE) == RULE.settings()
    assert policy.exemptions == policy.accept_risk == []
    assert check_policy(SHORT, RULES, today=TODAY)[1] == []


@pytest.mark.parametrize("mode", list(Mode))
def test_a_mode_is_a_word(mode):
    policy = load(f"{SHORT}rules:\n  tls-minimum:\n    mode: {mode}\n")
    assert policy.mode_of("tls-minimum", ONE, {}) is mode


@pytest.mark.parametrize(
    ("exempt", "hub", "rule", "day"),
    [
        (True, ONE, "tls-minimum", "2026-11-23T23:59:59+00:00"),
        (True, ONE, "tls-minimum", "2026-11-24T00:30:00+01:00"),
        (False, ONE, "tls-minimum", "2026-11-24T00:00:00+00:00"),
        (False, HubId(SUBSCRIPTION, "rg", "hub-two"), "tls-minimum", "2026-11-23T00:00:00+00:00"),
        (False, ONE, "other", "2026-11-23T00:00:00+00:00"),
    ],
)
def test_exemption_of(exempt, hub, rule, day):
    found = load(GOOD).exemption_of(hub, rule, datetime.fromisoformat(day).astimezone(UTC))
    assert (found is not None) is exempt


def test_watches_the_named_subscriptions_alone():
    policy = load(GOOD)
    assert policy.watches(ONE)
    assert not policy.watches(HubId(SUBSCRIPTION.replace("0", "1"), "rg", "hub-one"))


def test_all_stands_for_every_subscription():
    policy = load(SHORT.replace(SUBSCRIPTION, "all"))
    assert policy.watches_all
    assert policy.watches(HubId("any-other", "rg", "hub-one"))
    assert not load(GOOD).watches_all


SCOPED = f"""{SHORT}rules:
  tls-minimum:
    settings:
      absent: compliant
      unenforced_regions: [west]
    scopes:
      - where: {{hub: "*-ONE", resource_group: "r?"}}
        settings: {{minimum: "1.3"}}
      - where: {{subscription: {SUBSCRIPTION}}}
        settings: {{absent: drift}}
"""


@pytest.mark.parametrize(
    ("hub", "settings"),
    [
        (ONE, {"minimum": "1.3", "absent": "compliant", "unenforced_regions": ["west"]}),
        (HubId(SUBSCRIPTION, "rgs", "hub-one"), {"absent": "drift", "unenforced_regions": ["west"]}),
        (HubId(SUBSCRIPTION, "rg", "hub-two"), {"absent": "drift", "unenforced_regions": ["west"]}),
        (HubId("other", "rg", "two"), {"absent": "compliant", "unenforced_regions": ["west"]}),
        (None, {"absent": "compliant", "unenforced_regions": ["west"]}),
    ],
)
def test_the_first_scope_that_matches_replaces_the_settings_that_it_names(hub, settings):
    assert load(SCOPED).settings_of(RULE, hub) == RULE.settings(**settings)


WORKSPACE = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/g/providers/Microsoft.OperationalInsights/workspaces/w"
EVENT_HUB = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/g/providers/Microsoft.EventHub/namespaces/n/authorizationRules/r"


def test_a_scope_that_does_not_fit_the_settings_above_it_is_told_at_the_start():
    [(line, path, message)] = told(f"""{SHORT}rules:
  diagnostics:
    settings: {{destination: {EVENT_HUB}, event_hub_name: e}}
    scopes:
      - where: {{hub: a}}
        settings: {{destination: {WORKSPACE}}}
""")
    assert (line, path) == (4, "rules.diagnostics")
    assert message.startswith("scopes[0] does not fit with the settings above it: event_hub_name needs")


@pytest.mark.parametrize(
    ("scope", "path", "message"),
    [
        ("{settings: {}}", "rules.tls-minimum.scopes[0].where", "is missing"),
        (
            "{where: {hubs: a}, settings: {}}",
            "rules.tls-minimum.scopes[0].where.hubs",
            "is not a key that is known here",
        ),
        (
            "{where: {hub: ''}, settings: {}}",
            "rules.tls-minimum.scopes[0].where.hub",
            "String should have at least 1",
        ),
        (
            "{where: {}, settings: {minimum: '1.0'}}",
            "rules.tls-minimum.scopes[0].settings.minimum",
            "1.0 is too low",
        ),
    ],
)
def test_a_scope_that_is_wrong_is_told_with_its_place(scope, path, message):
    [(line, found, said)] = told(f"{SHORT}rules:\n  tls-minimum:\n    scopes:\n      - {scope}\n")
    assert (line, found) == (6, path)
    assert said.startswith(message)


def at(line, new, text=GOOD):
    """The file with this line replaced; numbers count from 1."""
    lines = text.splitlines(keepends=True)
    lines[line - 1] = f"{new}\n"
    return "".join(lines)


TABLE = {
    # unknown keys, at each level
    "top": (f"{GOOD}colour: red\n", 19, "colour", "is not a key that is known here"),
    "rule": (at(5, "  tls-maximum:"), 5, "rules.tls-maximum", f"no rule 'tls-maximum'; there are: {KNOWN}"),
    "rule with _": (at(5, "  tls_minimum:"), 5, "rules.tls_minimum", f"no rule 'tls_minimum'; there are: {KNOWN}"),
    "in a rule": (at(6, "    mod: auto"), 6, "rules.tls-minimum.mod", "is not a key that is known here"),
    "setting": (at(9, "      x: 1"), 9, "rules.tls-minimum.settings.x", "is not a key that is known here"),
    "exemption": (at(15, "    owner: jo\n    by: jo"), 16, "exemptions[0].by", "is not a key that is known here"),
    "ticket": (at(18, "  x: 1"), 18, "tickets.x", "is not a key that is known here"),
    # repeated keys, at each level
    "twice top": (f"{GOOD}version: 1\n", 19, "version", "is there twice; first on line 1"),
    "twice rule": (f"{SHORT}rules:\n  tls-minimum: {{}}\n  tls-minimum: {{}}\n", 5, "rules.tls-minimum",
                   "is there twice; first on line 4"),
    "twice in a rule": (at(9, "      minimum: '1.3'"), 9, "rules.tls-minimum.settings.minimum",
                        "is there twice; first on line 8"),
    "twice exemption": (at(15, "    owner: jo\n    rule: tls-minimum"), 16, "exemptions[0].rule",
                        "is there twice; first on line 11"),
    # missing
    "no version": (SHORT[11:], 1, "version", "is missing"),
    "no subscription": ("version: 1\n", 1, "subscriptions", "is missing"),
    "no owner": (at(15, ""), 11, "exemptions[0].owner", "is missing"),
    # wrong types and values
    "version": (at(1, "version: 2"), 1, "version", "Input should be 1, found 2"),
    "version text": (at(1, "version: '1'"), 1, "version", "Input should be 1, found '1'"),
    "version bool": (at(1, "version: true"), 1, "version", "must be 1, found True"),
    "guid": (at(3, "  - my-subscription"), 3, "subscriptions[0]", "not a subscription id (a GUID): 'my-subscription'"),
    "guid number": (at(3, "  - 5"), 3, "subscriptions[0]", "must be text: write 5 in quotes"),
    "no list": ("version: 1\nsubscriptions: 5\n", 2, "subscriptions", "must be a list, found 5"),
    "empty list": ("version: 1\nsubscriptions: []\n", 2, "subscriptions",
                   "List should have at least 1 item after validation, not 0, found []"),
    "empty section": (f"{SHORT}exemptions:\n", 3, "exemptions", "is empty: give it a value, or delete the line"),
    "empty rules": (f"{SHORT}rules:\n", 3, "rules", "is empty: give it a value, or delete the line"),
    "rules list": (f"{SHORT}rules: [tls-minimum]\n", 3, "rules",
                   "must be a section with its own keys, found ['tls-minimum']"),
    "mode": (at(6, "    mode: automatic"), 6, "rules.tls-minimum.mode",
             "Input should be 'off', 'report', 'ticket', 'approve' or 'auto', found 'automatic'"),
    "mode bool": (at(6, "    mode: false"), 6, "rules.tls-minimum.mode",
                  "Input should be 'off', 'report', 'ticket', 'approve' or 'auto', found False"),
    "mode empty": (at(6, "    mode:"), 6, "rules.tls-minimum.mode", "is empty: give it a value, or delete the line"),
    "mode casing": (at(6, "    mode: Auto"), 6, "rules.tls-minimum.mode",
                    "Input should be 'off', 'report', 'ticket', 'approve' or 'auto', found 'Auto'"),
    "number": (at(8, "      minimum: 1.2"), 8, "rules.tls-minimum.settings.minimum",
               "must be text: write 1.2 in quotes"),
    "no version number": (at(8, "      minimum: tls1.2"), 8, "rules.tls-minimum.settings.minimum",
                          "not a version such as 1.2: 'tls1.2'"),
    "absent": (at(9, "      absent: fine"), 9, "rules.tls-minimum.settings.absent",
               "Input should be 'drift' or 'compliant', found 'fine'"),
    "hub": (at(12, "    hub: Hub-One"), 12, "exemptions[0].hub", "not an IoT Hub or a part of one: 'Hub-One'"),
    "blank reason": (at(14, "    reason: '  '"), 14, "exemptions[0].reason",
                     "says nothing: write it in words"),
    "ticket target": (at(18, "  target: bugzilla"), 18, "tickets.target",
                      ("Input should be 'builtin', 'github', 'jira', 'servicenow', 'azure_devops', 'pagerduty' or "
                       "'webhook', found 'bugzilla'")),
    "accept_risk": (at(16, "accept_risk:\n- tls-minimum\n- tls"), 18, "accept_risk[1]",
                    f"no rule 'tls'; there are: {KNOWN}"),
    "exempt rule": (at(11, "  - rule: tls"), 11, "exemptions[0].rule", f"no rule 'tls'; there are: {KNOWN}"),
    # days
    "expired": (at(13, "    until: 2026-11-22"), 13, "exemptions[0].until",
                "expired on 2026-11-22: renew it with a reason, or delete the exemption"),
    "no day": (at(13, "    until: 2027-02-29"), 13, "exemptions[0].until",
               "must be a day of the calendar, found '2027-02-29': day is out of range for month"),
    "words": (at(13, "    until: next week"), 13, "exemptions[0].until",
              "must be a day such as 2027-01-31, found 'next week'"),
    "european": (at(13, "    until: 31.01.2027"), 13, "exemptions[0].until",
                 "must be a day such as 2027-01-31, found '31.01.2027'"),
    "epoch": (at(13, "    until: 1798675200"), 13, "exemptions[0].until",
              "must be a day such as 2027-01-31, found 1798675200"),
    "epoch text": (at(13, "    until: '1798675200'"), 13, "exemptions[0].until",
                   "must be a day such as 2027-01-31, found '1798675200'"),
    "time": (at(13, "    until: 2027-01-31T00:00:00Z"), 13, "exemptions[0].until",
             "must be a day such as 2027-01-31, found '2027-01-31T00:00:00Z'"),
    "no until": (at(13, "    until:"), 13, "exemptions[0].until", "is empty: give it a value, or delete the line"),
    # YAML
    "tab": (at(6, "\tmode: auto"), 6, "", "is not YAML: found character '\\t' that cannot start any token: indent with spaces, not with tabs"),
    "alias": (f"{SHORT}accept_risk: &a [tls-minimum]\nrules: *a\n", 4, "", "aliases (*name) are not allowed here"),
    "merge": (f"{SHORT}<<: {{accept_risk: []}}\n", 3, "", "the merge key << is not allowed here"),
    "tag": (f"{SHORT}accept_risk: !!python/object/apply:os.system [x]\n", 3, "",
            "!!python/object/apply:os.system is not allowed here"),
    "bad int": (f"{SHORT}accept_risk: !!int x\n", 3, "", "'x' is no !!int"),
    "odd int": (f"{SHORT}accept_risk: 0b_\n", 3, "", "'0b_' is no !!int"),
    "int key": (f"{SHORT}5: x\n", 3, "", "a key must be a word, not !!int"),
    "list key": (f"{SHORT}? [a]\n: x\n", 3, "", "a key must be a word, not !!seq"),
    "null key": (f"{SHORT}~: x\n", 3, "", "a key must be a word, not !!null"),
    "two documents": (f"{SHORT}---\na: 1\n", 3, "", "expected a single document in the stream but found another document"),
    "empty": ("", 1, "", "must be a mapping with version, subscriptions and rules"),
    "comment": ("# nothing\n", 1, "", "must be a mapping with version, subscriptions and rules"),
    "list": ("- a\n", 1, "", "must be a mapping with version, subscriptions and rules"),
    "text": ("hello\n", 1, "", "must be a mapping with version, subscriptions and rules"),
    "null": ("null\n", 1, "", "must be a mapping with version, subscriptions and rules"),
    "NUL": (f"{SHORT}\x00", 3, "", "is no text: character U+0000 cannot be part of it"),
    "garbage": ("\x89PNG\r\n\x1a\n\x00", 1, "", "is no text: character U+0089 cannot be part of it"),
    "surrogate": (f"{SHORT}# \ud800", 3, "", "is no text: character U+D800 cannot be part of it"),
    "deep": (f"{SHORT}a: " + "[" * 1_000, 3, "", "is nested deeper than 20 levels"),
    "deeper": (f"{SHORT}a:\n" + "[" * 100_000, 4, "", None),
    "deep blocks": (f"{SHORT}a:\n" + "- " * 1_000, 4, "", "is nested deeper than 20 levels"),
    "1 MB": (f"{SHORT}# {'x' * 1_000_000}\n", 1, "", None),
    "1 MB of brackets": ("[" * 1_000_000, 1, "", None),
}  # fmt: skip


@pytest.mark.parametrize(("text", "line", "path", "message"), TABLE.values(), ids=TABLE.keys())
def test_a_bad_file(text, line, path, message):
    problems = told(text)
    assert [problem[:2] for problem in problems] == [(line, path)]
    assert message is None or problems[0][2] == message


def test_everything_is_said_at_once_and_in_order():
    text = at(1, "version: 3", at(6, "    mode: x", at(13, "    until: x", GOOD)))
    assert [(line, path) for line, path, _ in told(text)] == [
        (1, "version"),
        (6, "rules.tls-minimum.mode"),
        (13, "exemptions[0].until"),
    ]


def test_the_error_reads_as_one_line_a_problem():
    with pytest.raises(PolicyError, match=r"^mine\.yaml: line 1, version: Input should be 1, found 3$"):
        load_policy(at(1, "version: 3"), RULES, today=TODAY, name="mine.yaml")
    with pytest.raises(PolicyError, match=r"^policy\.yaml: line 1, \(top level\): must be a mapping"):
        load("")


@pytest.mark.parametrize("number", ["9" * 5000, "0x" + "f" * 6000, "9" * 21])
def test_endless_numbers_are_refused(number):
    assert [line for line, _, _ in told(f"{SHORT}accept_risk: [{number}]\n")] == [3]


def test_what_is_found_is_quoted_in_short():
    (problem,) = told(f"{SHORT}rules: [{', '.join(['abcdefgh'] * 10_000)}]\n")
    assert len(problem[2]) < 200


def test_an_expired_exemption_stops_loading_but_not_a_running_service():
    text = at(13, "    until: 2026-11-22")
    policy, problems = check_policy(text, RULES, today=TODAY)
    assert isinstance(policy, Policy)
    assert [(problem.line, problem.expired) for problem in problems] == [(13, True)]
    assert policy.exemption_of(ONE, "tls-minimum", datetime(2026, 11, 23, tzinfo=UTC)) is None
    assert policy.mode_of("tls-minimum", ONE, {}) is Mode.AUTO


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(at(13, "    until: 2026-11-22") + "version: 1\n", id="repeated key"),
        pytest.param(at(13, "    until: 2026-11-22", at(16, "accept_risk: [tls]")), id="unknown rule"),
    ],
)
def test_nothing_else_is_forgiven_beside_an_expired_exemption(text):
    policy, problems = check_policy(text, RULES, today=TODAY)
    assert policy is None
    assert {problem.expired for problem in problems} == {True, False}


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("\ufeff" + GOOD, id="byte order mark"),
        pytest.param(GOOD.replace("\n", "\r\n"), id="Windows line ends"),
        pytest.param("---\n" + GOOD + "...\n", id="document marks"),
        pytest.param("# hello\n" + GOOD, id="comments"),
        pytest.param(at(13, "    until: '2026-11-23'"), id="quoted day"),
        pytest.param(at(12, f"    hub: {HUB.upper()}"), id="hub in capitals"),
        pytest.param(SHORT + "rules: {}\nexemptions: []\n", id="empty but written"),
        pytest.param(SHORT + "rules: {tls-minimum: {}}\n", id="a rule with its defaults"),
        pytest.param(SHORT + "rules: {tls-minimum: }\n", id="a rule without a section"),
    ],
)
def test_good_all_the_same(text):
    load(text)


@pytest.mark.parametrize("word", ["off", "on", "yes", "no", "Off", "NO", "y", "n", "True", "2027-01-31"])
def test_words_stay_words(word):
    assert load(at(14, f"    reason: {word}")).exemptions[0].reason == word


def survive(text):
    """Any text is a policy, or a PolicyError with at least one problem that has a line of the file."""
    policy, problems = check_policy(text, RULES, today=TODAY)
    assert policy is not None or problems
    ends = sum(text.count(end) for end in ("\n", "\r", "\x85", "\u2028", "\u2029"))
    assert all(1 <= problem.line <= ends + 2 for problem in problems)
    with contextlib.suppress(PolicyError):
        assert load(text).model_dump() == policy.model_dump()
        assert not problems


@given(st.text(max_size=60))
@example("0x_: 1")
@example("!!timestamp x")
@example("!!float .")
@example("!!bool x: 1")
@example("!!set {a}")
@example("? !!omap []\n: 1")
@example("!!map x")
@example("!!str {a: 1}")
@example("%YAML 9.9\n---\na")
@example("=: 1")
def test_any_text_survives(text):
    survive(text)


PIECES = [":", "- ", "{", "}", "[", "]", "'", '"', "\n", "\t", "  ", "#", "&a ", "*a", "!!int ", "? ", "|", ">", "%", "@", "0b_",
          "~", "1", "true", "off", "<<: ", "---\n", "\x00", "\u2028", "é", ",", "=", "."]  # fmt: skip


@given(st.data())
def test_any_mutation_of_a_good_file_survives(data):
    text = GOOD
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        piece = data.draw(st.sampled_from(PIECES) | st.text(max_size=2))
        text = text[:start] + piece + text[start + data.draw(st.integers(0, 6)) :]
    survive(text)


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.dates(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@given(st.sampled_from([
    ("version",), ("subscriptions",), ("subscriptions", 0), ("rules",), ("rules", "tls-minimum"),
    ("rules", "tls-minimum", "mode"), ("rules", "tls-minimum", "settings"), ("exemptions",), ("exemptions", 0),
    ("exemptions", 0, "until"), ("exemptions", 0, "hub"), ("accept_risk",), ("tickets",), ("tickets", "target"),
]), plain)  # fmt: skip
def test_any_value_anywhere_survives(path, value):
    document = yaml.safe_load(GOOD.replace("2026-11-23", "'2026-11-23'"))
    here = document
    for key in path[:-1]:
        here = here[key]
    here[path[-1]] = value
    survive(yaml.safe_dump(document, allow_unicode=False))


SCHEMA = policy_schema(RULES)
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
DOCUMENT = {
    "version": 1,
    "subscriptions": [SUBSCRIPTION],
    "rules": {"tls-minimum": {"mode": "auto", "settings": {"minimum": "1.2", "absent": "drift"}}},
    "exemptions": [{"rule": "tls-minimum", "hub": HUB, "until": "2027-01-31", "reason": "r", "owner": "o"}],
    "accept_risk": ["tls-minimum"],
    "tickets": {"target": "builtin"},
}


def test_the_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert SCHEMA["title"] == "hubwarden policy"


def variants():
    """DOCUMENT with one thing put elsewhere: (path, value); DELETE takes it out."""
    yield (), DOCUMENT
    for path in itertools.chain(DOCUMENT, ["rules.tls-minimum", "rules.tls-minimum.mode", "tickets.target"]):
        for value in (DELETE, None, 5, "x", [], {}, ["x"], {"x": 1}, True):
            if (path, value) not in BEYOND_A_SCHEMA:
                yield tuple(path.split(".")), value
    for path in ("colour", "rules.other", "rules.tls-minimum.x", "rules.tls-minimum.settings.x", "tickets.x"):
        yield tuple(path.split(".")), "x"
    for mode in (*Mode, "on", "Auto", ""):
        yield ("rules", "tls-minimum", "mode"), str(mode)
    for value in ("fine", None, 1, "compliant"):
        yield ("rules", "tls-minimum", "settings", "absent"), value
    for field in DOCUMENT["exemptions"][0]:
        for value in (DELETE, None, 5, [], {}, ""):
            yield ("exemptions", 0, field), value


DELETE = object()
# Only the parser knows which ids are rules' and which texts are GUIDs.
BEYOND_A_SCHEMA = [("accept_risk", ["x"]), ("subscriptions", ["x"])]
# … nor can a schema say what a hub's id or a rule's is: an empty one is merely text to it.
MERELY_TEXT = {("exemptions", 0, "rule"), ("exemptions", 0, "hub"), ("exemptions", 0, "until")}


@pytest.mark.parametrize(("path", "value"), [(p, v) for p, v in variants() if p not in MERELY_TEXT or v != ""])
def test_schema_and_parser_agree(path, value):
    document = copy.deepcopy(DOCUMENT)
    if path:
        here = document
        for key in path[:-1]:
            here = here[key]
        if value is DELETE:
            del here[path[-1]]
        else:
            here[path[-1]] = value
    problems = check_policy(yaml.safe_dump(document), RULES, today=TODAY)[1]
    assert VALIDATOR.is_valid(document) is (not problems), problems
