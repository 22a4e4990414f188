"""The pure edit of shared access policies: what is not edited stays to the letter, and nothing is granted."""

import copy
import itertools

from dataclasses import replace

import pytest

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hubwarden.adapters.azure.policies import edited, without_keys
from hubwarden.domain.jsons import same
from hubwarden.service.errors import AzureError, ConflictError, PermanentError
from hubwarden.service.ports import PolicyEdit


DOING = "editing the policies of <hub>"
RIGHTS = ("RegistryRead", "RegistryWrite", "ServiceConnect", "DeviceConnect")
OWNER = frozenset({"RegistryWrite", "ServiceConnect", "DeviceConnect"})
RULES = settings(deadline=None, max_examples=150, database=None)


def policy(name, rights, key="k", **more):
    return {"keyName": name, "primaryKey": f"{key}1=", "secondaryKey": f"{key}2=", "rights": rights, **more}


def five():
    return [
        policy("iothubowner", "RegistryWrite, ServiceConnect, DeviceConnect", "o", claim={"later": [None, 1.0]}),
        policy("service", "ServiceConnect", "s"),
        policy("device", "DeviceConnect", "d"),
        policy("registryRead", "RegistryRead", "r"),
        policy("registryReadWrite", "RegistryWrite", "w"),
    ]


def edit(name, expected, rights=None, *, new_keys=False):
    return PolicyEdit(name, frozenset(expected), None if rights is None else frozenset(rights), new_keys)


def meant(rights):
    held = {right.lower() for right in rights}
    return held | ({"registryread"} if "registrywrite" in held else set())


def split(text):
    return [part.strip() for part in text.split(",")]


def test_a_removal_takes_out_one_entry_and_nothing_else():
    before = five()
    assert same(edited(five(), [edit("Service", {"ServiceConnect"})], DOING), [before[0], *before[2:]])


def test_a_narrowing_changes_the_rights_and_nothing_else():
    before = five()
    after = edited(five(), [edit("IOTHUBOWNER", OWNER, {"DeviceConnect", "RegistryRead"})], DOING)
    assert same(after, [before[0] | {"rights": "RegistryRead, DeviceConnect"}, *before[1:]])


def test_new_keys_are_asked_for_by_sending_none():
    before = five()
    after = edited(five(), [edit("device", {"DeviceConnect"}, {"DeviceConnect"}, new_keys=True)], DOING)
    assert same(after, [*before[:2], {"keyName": "device", "rights": "DeviceConnect"}, *before[3:]])


def test_new_keys_and_fewer_rights_go_together():
    after = edited(five(), [edit("iothubowner", OWNER, {"ServiceConnect"}, new_keys=True)], DOING)
    assert after[0] == {"keyName": "iothubowner", "rights": "ServiceConnect", "claim": {"later": [None, 1.0]}}


def test_what_is_removed_needs_no_new_keys():
    assert len(edited(five(), [edit("device", {"DeviceConnect"}, new_keys=True)], DOING)) == 4


def test_no_edit_is_no_change():
    assert same(edited(five(), [], DOING), five())


@pytest.mark.parametrize("expected", [OWNER, OWNER | {"RegistryRead"}, {right.upper() for right in OWNER}])
def test_who_may_write_the_registry_may_read_it(expected):
    assert len(edited(five(), [edit("iothubowner", expected)], DOING)) == 4


@pytest.mark.parametrize("rights", [OWNER, OWNER | {"RegistryRead"}])
def test_the_same_rights_are_sent_as_they_were_read(rights):
    listed = [policy("odd", "DeviceConnect,ServiceConnect ,RegistryWrite")]
    assert edited(listed, [edit("odd", OWNER, rights)], DOING) == listed


def test_a_right_that_is_not_known_is_spelled_as_azure_does():
    listed = [policy("new", "QuantumConnect, DeviceConnect, ServiceConnect")]
    change = edit(
        "new", {"quantumconnect", "deviceconnect", "serviceconnect"}, {"quantumconnect", "DeviceConnect"}
    )
    assert edited(listed, [change], DOING)[0]["rights"] == "DeviceConnect, QuantumConnect"


MOVED = [
    ([edit("gone", {"ServiceConnect"})], "no policy gone any more"),
    ([edit("service", {"DeviceConnect"})], "service has other rights than it had: ServiceConnect"),
    ([edit("service", set())], "service has other rights than it had"),
    ([edit("service", {"ServiceConnect", "RegistryRead"})], "service has other rights"),
    ([edit("iothubowner", OWNER - {"DeviceConnect"}, {"ServiceConnect"})], "iothubowner has other rights"),
    ([edit("registryReadWrite", {"RegistryRead"})], "registryReadWrite has other rights"),
    ([edit("device", {"DeviceConnect"}), edit("service", {"RegistryRead"})], "service has other rights"),
]


@pytest.mark.parametrize(("edits", "says"), MOVED)
def test_policies_that_are_not_as_expected_are_a_conflict(edits, says):
    with pytest.raises(ConflictError, match=f"^{DOING}: .*{says}"):
        edited(five(), edits, DOING)


WRONG = [
    ([edit("device", {"DeviceConnect"}, {"DeviceConnect", "ServiceConnect"})], "would get rights"),
    ([edit("registryRead", {"RegistryRead"}, {"RegistryWrite"})], "would get rights"),
    ([edit("device", {"DeviceConnect"}, {"DeviceConnects"})], "would get rights"),
    ([edit("device", {"DeviceConnect"}, set())], "without any right"),
    ([edit("device", {"DeviceConnect"}), edit("DEVICE", {"DeviceConnect"})], "there twice"),
]


@pytest.mark.parametrize(("edits", "says"), WRONG)
def test_edits_that_make_no_sense_are_refused(edits, says):
    with pytest.raises(PermanentError, match=f"^{DOING}: .*{says}"):
        edited(five(), edits, DOING)


@pytest.mark.parametrize(
    "broken",
    [
        {"keyName": None},
        {"keyName": ""},
        {"keyName": "SERVICE"},
        {"rights": None},
        {"rights": ["DeviceConnect"]},
        {"primaryKey": ""},
        {"primaryKey": None},
        {"secondaryKey": "****"},
        {"secondaryKey": 5},
    ],
)
def test_a_list_that_would_lose_something_is_never_sent(broken):
    listed = five()
    listed[2] |= broken
    edits = [edit("service", {"ServiceConnect"}), edit("device", {"DeviceConnect"}, {"DeviceConnect"})]
    with pytest.raises(PermanentError) as caught:
        edited(listed, edits, DOING)
    assert not any(key in str(caught.value) for key in ("d1=", "d2="))


@pytest.mark.parametrize("key", ["primaryKey", "secondaryKey"])
def test_a_missing_key_is_seen_with_any_policy_that_stays(key):
    listed = five()
    del listed[4][key]
    with pytest.raises(PermanentError, match="without its keys"):
        edited(listed, [edit("device", {"DeviceConnect"})], DOING)
    assert len(edited(listed, [edit("registryReadWrite", {"RegistryWrite"})], DOING)) == 4


def test_what_is_shown_of_policies_is_sorted_and_has_no_keys():
    listed = [
        policy("b", " ServiceConnect,DeviceConnect , ServiceConnect", extra="x"),
        policy("a", "RegistryRead"),
    ]
    assert without_keys(listed, DOING) == {
        "policies": [
            {"keyName": "a", "rights": ["RegistryRead"]},
            {"keyName": "b", "rights": ["DeviceConnect", "ServiceConnect"]},
        ]
    }


@pytest.mark.parametrize("broken", [{"keyName": None}, {"keyName": 5}, {"rights": None}, {"rights": ["x"]}])
def test_policies_without_names_or_rights_are_not_shown(broken):
    with pytest.raises(PermanentError, match=f"^{DOING}: "):
        without_keys([policy("a", "x") | broken], DOING)


# --- what a rollback may do, and nothing else


def test_a_policy_that_was_removed_is_made_without_keys_and_all_others_keep_theirs():
    before = five()
    removed = edited(five(), [edit("service", {"ServiceConnect"})], DOING)
    back = PolicyEdit("service", None, frozenset({"ServiceConnect", "RegistryRead"}), restores=True)
    after = edited(removed, [back], DOING)
    made = {"keyName": "service", "rights": "RegistryRead, ServiceConnect"}
    assert same(after, [before[0], *before[2:], made])


def test_a_policy_that_was_narrowed_has_its_rights_back_and_its_keys_still():
    before = five()
    back = PolicyEdit("service", frozenset({"ServiceConnect"}), frozenset({"ServiceConnect", "DeviceConnect"}))
    with pytest.raises(PermanentError, match="rights that it does not have"):
        edited(five(), [back], DOING)
    after = edited(five(), [replace(back, restores=True)], DOING)
    assert same(after, [before[0], before[1] | {"rights": "ServiceConnect, DeviceConnect"}, *before[2:]])


MAKING = [
    (PolicyEdit("new", None, frozenset({"ServiceConnect"})), PermanentError, "nothing was asked to be restored"),
    (PolicyEdit("new", None, frozenset(), restores=True), PermanentError, "nothing was asked to be restored"),
    (PolicyEdit("new", None, None, restores=True), PermanentError, "nothing was asked to be restored"),
    (PolicyEdit("SERVICE", None, frozenset({"ServiceConnect"}), restores=True), ConflictError, "SERVICE again"),
]


@pytest.mark.parametrize(("making", "error", "said"), MAKING)
def test_no_other_policy_is_made(making, error, said):
    with pytest.raises(error, match=said):
        edited(five(), [making], DOING)


# --- any list, any edits

names = st.text(st.sampled_from("abABk-_.ß"), min_size=1, max_size=3)
right_sets = st.frozensets(st.sampled_from(RIGHTS), min_size=1)
keys = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8).filter(lambda key: key.strip("*"))


@st.composite
def policies(draw):
    held = draw(right_sets)
    order = draw(st.permutations(sorted(held)))
    more = draw(st.dictionaries(st.sampled_from(["claim", "created"]), st.none() | st.integers() | names))
    return {
        "keyName": draw(names),
        "primaryKey": draw(keys),
        "secondaryKey": draw(keys),
        "rights": draw(st.sampled_from([", ", ",", " , "])).join(order),
        **more,
    }


lists = st.lists(policies(), max_size=6, unique_by=lambda entry: entry["keyName"].lower())


@st.composite
def sensible(draw):
    """A list, and edits that fit it."""
    listed = draw(lists)
    edits = []
    for entry in listed:
        if not draw(st.booleans()):
            continue
        held = frozenset(split(entry["rights"]))
        rights = draw(st.none() | st.frozensets(st.sampled_from(sorted(held)), min_size=1))
        name = draw(st.sampled_from([entry["keyName"], entry["keyName"].lower()]))
        edits.append(PolicyEdit(name, held, rights, draw(st.booleans())))
    return listed, draw(st.permutations(edits))


def check(before, edits, after):
    """What must hold of every result, whatever was asked for."""
    by_name = {change.name.lower(): change for change in edits}
    old = {entry["keyName"].lower(): entry for entry in before}
    assert [e["keyName"] for e in after] == [
        e["keyName"]
        for e in before
        if (change := by_name.get(e["keyName"].lower())) is None or change.rights is not None
    ]
    assert len({entry["keyName"].lower() for entry in after}) == len(after)
    for entry in after:
        was, change = old[entry["keyName"].lower()], by_name.get(entry["keyName"].lower())
        if change is None:
            assert same(entry, was)
            assert list(entry) == list(was)
            continue
        assert meant(split(entry["rights"])) == meant(change.rights) <= meant(split(was["rights"]))
        expected = {name for name in was if not (change.new_keys and name.endswith("Key"))}
        assert set(entry) == expected
        assert all(same(entry[name], was[name]) for name in expected - {"rights"})


@RULES
@given(sensible())
def test_sensible_edits_are_done_to_the_letter(case):
    listed, edits = case
    kept = copy.deepcopy(listed)
    after = edited(listed, edits, DOING)
    assert same(listed, kept)
    check(kept, edits, after)


any_edit = st.builds(
    PolicyEdit, names, st.frozensets(st.sampled_from(RIGHTS)), st.none() | st.frozensets(st.sampled_from(RIGHTS)),
    st.booleans(),
)  # fmt: skip


@RULES
@given(lists, st.lists(any_edit, max_size=4), st.data())
def test_any_edits_are_done_to_the_letter_or_not_at_all(listed, edits, data):
    if listed and edits and data.draw(st.booleans()):
        target = data.draw(st.sampled_from(listed))
        edits[0] = PolicyEdit(
            target["keyName"], frozenset(split(target["rights"])), edits[0].rights, edits[0].new_keys
        )
    kept = copy.deepcopy(listed)
    try:
        after = edited(listed, edits, DOING)
    except AzureError:
        assert same(listed, kept)
        return
    check(kept, edits, after)


@RULES
@given(lists)
def test_a_second_time_finds_nothing_to_do(listed):
    assume(listed)
    held = frozenset(split(listed[0]["rights"]))
    change = PolicyEdit(listed[0]["keyName"], held, frozenset(sorted(held)[:1]))
    once = edited(listed, [change], DOING)
    again = edited(once, [PolicyEdit(change.name, change.rights, change.rights)], DOING)
    assert same(again, once)
    if meant(held) != meant(change.rights):
        with pytest.raises(ConflictError):
            edited(once, [change], DOING)


@RULES
@given(lists)
def test_no_key_is_in_what_is_shown(listed):
    shown = without_keys(listed, DOING)
    assert set(shown) == {"policies"}
    assert all(set(entry) == {"keyName", "rights"} for entry in shown["policies"])
    assert [entry["keyName"] for entry in shown["policies"]] == sorted(entry["keyName"] for entry in listed)


@pytest.mark.parametrize("rights", [c for n in range(1, 5) for c in itertools.combinations(RIGHTS, n)])
def test_every_set_of_rights_is_written_as_azure_writes_it(rights):
    listed = [policy("all", "DeviceConnect, QuantumConnect, ServiceConnect, RegistryWrite")]
    everything = set(RIGHTS) | {"QuantumConnect"}
    (after,) = edited(listed, [edit("all", everything, rights)], DOING)
    assert after["rights"] == ", ".join(rights)
