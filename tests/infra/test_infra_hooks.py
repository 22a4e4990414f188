"""The hooks of azd, run for real with another ``az`` on the PATH.

PowerShell cannot be had everywhere, so its twins are held to the same commands of ``az`` and the same words.
"""

import base64
import json
import os
import re
import shutil
import subprocess
import sys

from pathlib import Path

import pytest
import tree_sitter
import tree_sitter_powershell
import yaml


ROOT = Path(__file__).parents[2]
HOOKS = ("preprovision", "postprovision", "postdeploy", "predown")
HOME, OTHER = "11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222"
APP = "hubwarden-abcdefghijklm"
PRINCIPAL = "99999999-9999-9999-9999-999999999999"
TOPIC = (
    f"/subscriptions/{OTHER}/resourceGroups/rg-{APP}-events/providers/Microsoft.EventGrid/systemTopics/evgt-{APP}"
)
THEIRS = f"/subscriptions/{OTHER}/resourceGroups/theirs/providers/Microsoft.EventGrid/systemTopics/theirs"
HUB = f"/subscriptions/{OTHER}/resourceGroups/Plant/providers/Microsoft.Devices/IotHubs/Press"
PLANTS = "/providers/Microsoft.Management/managementGroups/plants"
ROLES = "providers/Microsoft.Authorization/roleDefinitions"
ENV = {
    "AZURE_SUBSCRIPTION_ID": HOME,
    "AZURE_ENV_NAME": "dev",
    "AZURE_LOCATION": "westeurope",
    "AZURE_RESOURCE_GROUP": "rg-dev",
    "AZURE_FUNCTION_NAME": f"func-{APP}",
    "AZURE_FUNCTION_ID": f"/subscriptions/{HOME}/resourceGroups/rg-dev/providers/Microsoft.Web/sites/func-{APP}",
    "AZURE_STORAGE_ACCOUNT": "stabcdefghijklm",
    "AZURE_KEY_VAULT": "kv-abcdefghijklm",
    "HUBWARDEN_APP_NAME": APP,
    "HUBWARDEN_IDENTITY_PRINCIPAL_ID": PRINCIPAL,
    "HUBWARDEN_SUBSCRIPTIONS": f"{HOME} {OTHER}",
    "HUBWARDEN_ROLE_SUBSCRIPTIONS": f"{HOME} {OTHER}",
    "HUBWARDEN_HOOK_PAUSE": "0",
    "HUBWARDEN_HOOK_TRIES": "3",
}

NEEDED = {
    "preprovision": ["AZURE_SUBSCRIPTION_ID", "AZURE_ENV_NAME"],
    "postprovision": ["AZURE_SUBSCRIPTION_ID", "AZURE_KEY_VAULT"],
    "postdeploy": [
        "AZURE_SUBSCRIPTION_ID",
        "AZURE_LOCATION",
        "AZURE_RESOURCE_GROUP",
        "AZURE_FUNCTION_NAME",
        "AZURE_STORAGE_ACCOUNT",
        "HUBWARDEN_APP_NAME",
    ],
    "predown": ["AZURE_SUBSCRIPTION_ID", "AZURE_RESOURCE_GROUP", "HUBWARDEN_IDENTITY_PRINCIPAL_ID"],
}


class Azd:
    """A copy of the project's hooks, and the Azure that they see."""

    def __init__(self, folder, *, az=True):
        self.root = folder / "project with a space"
        shutil.copytree(ROOT / "infra" / "hooks", self.root / "infra" / "hooks")
        shutil.copy(ROOT / "policy.sample.yaml", self.root)
        self.scratch = folder / "tmp"
        self.scratch.mkdir()
        self.path = folder / "bin"
        self.path.mkdir()
        for tool in ("sh", "dirname", "sed", "mv", "tr", "head", "base64", "wc", "rm", "mktemp", "grep", "cat",
                     "sleep", "cut", "awk"):  # fmt: skip
            (self.path / tool).symlink_to(shutil.which(tool))
        if az:
            fake = Path(__file__).with_name("fake_az.py")
            (self.path / "az").write_text(f'#!/bin/sh\nexec "{sys.executable}" "{fake}" "$@"\n')
            (self.path / "az").chmod(0o755)
        self.file = folder / "azure.json"
        self.set(
            calls=[], fail={}, secrets={}, functions=["on_azure_event", "on_device_event", "sweep"], topics=[],
            settings={}, groups=[], assignments=[], roles={},
        )  # fmt: skip

    def set(self, **state):
        self.file.write_text(json.dumps({**self.state(), **state}))

    def state(self):
        return json.loads(self.file.read_text()) if self.file.exists() else {}

    def run(self, hook, *args, **env):
        """The hook's exit code, and what it says."""
        given = {name: text for name, text in {**ENV, **env}.items() if text is not None}
        done = subprocess.run(
            ["sh", str(self.root / "infra" / "hooks" / f"{hook}.sh"), *args],
            env={**given, "PATH": str(self.path), "FAKE_AZ": str(self.file), "TMPDIR": str(self.scratch)},
            cwd=self.scratch,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert list(self.scratch.iterdir()) == [], "nothing is left lying about"
        return done.returncode, done.stdout + done.stderr

    def commands(self):
        calls = [call for call in self.state()["calls"] if call[:2] != ["account", "show"]]
        self.set(calls=[])
        return [" ".join(call[: next(i for i, arg in enumerate(call) if arg.startswith("--"))]) for call in calls]


@pytest.fixture
def azd(tmp_path):
    return Azd(tmp_path)


@pytest.fixture
def without_az(tmp_path):
    return Azd(tmp_path, az=False)


class TestPreprovision:
    def test_makes_a_policy_file_that_watches_the_subscription_and_only_reports(self, azd):
        code, said = azd.run("preprovision")
        assert code == 0
        assert HOME in said
        policy = yaml.safe_load((azd.root / "policy.yaml").read_text())
        assert policy["subscriptions"] == [HOME]
        assert {rule["mode"] for rule in policy["rules"].values()} == {"report"}

    def test_leaves_a_policy_file_alone(self, azd):
        (azd.root / "policy.yaml").write_text("mine")
        code, said = azd.run("preprovision")
        assert (code, "stays as it is" in said) == (0, True)
        assert (azd.root / "policy.yaml").read_text() == "mine"

    def test_twice_is_once(self, azd):
        azd.run("preprovision")
        before = (azd.root / "policy.yaml").read_text()
        assert azd.run("preprovision", AZURE_SUBSCRIPTION_ID=OTHER)[0] == 0
        assert (azd.root / "policy.yaml").read_text() == before

    @pytest.mark.parametrize("wrong", [None, "", "1/e rm -rf ~/", "a&b"])
    def test_makes_none_without_a_subscription_id(self, azd, wrong):
        code, said = azd.run("preprovision", AZURE_SUBSCRIPTION_ID=wrong)
        assert (code, "AZURE_SUBSCRIPTION_ID" in said) == (1, True)
        assert not (azd.root / "policy.yaml").exists()

    @pytest.mark.parametrize("kill", ["0", "", "off", "False"])
    def test_goes_on_where_the_kill_switch_is_off(self, azd, kill):
        azd.set(groups=[[HOME, "rg-dev"]], settings={f"func-{APP}": {"HUBWARDEN_KILL": kill}})
        assert azd.run("preprovision")[0] == 0

    @pytest.mark.parametrize("kill", ["1", "true", "whatever"])
    def test_turns_no_kill_switch_off(self, azd, kill):
        azd.set(groups=[[HOME, "rg-dev"]], settings={f"func-{APP}": {"HUBWARDEN_KILL": kill}})
        code, said = azd.run("preprovision")
        assert (code, "kill switch" in said, "HUBWARDEN_KILL=0" in said) == (1, True, True)
        assert azd.run("preprovision", KILL_SWITCH="true")[0] == 0

    @pytest.mark.parametrize(
        "command", ["group exists", "functionapp list", "functionapp config appsettings list"]
    )
    def test_provisions_nothing_where_it_cannot_know(self, azd, command):
        azd.set(groups=[[HOME, "rg-dev"]], settings={f"func-{APP}": {}}, fail={command: ("no", -1)})
        code, said = azd.run("preprovision")
        assert (code, "is not known" in said) == (1, True)


class TestPostprovision:
    def test_makes_two_keys_of_48_random_bytes_each(self, azd):
        code, said = azd.run("postprovision")
        assert code == 0, said
        keys = {name: secret["text"] for name, secret in azd.state()["secrets"].items()}
        assert set(keys) == {"approval-keys", "webhook-keys"}
        assert [len(base64.b64decode(key, validate=True)) for key in keys.values()] == [48, 48]
        assert len(set(keys.values())) == 2

    def test_keys_are_in_no_output_and_on_no_command_line_and_in_a_file_of_ones_own(self, azd):
        _, said = azd.run("postprovision")
        state = azd.state()
        for secret in state["secrets"].values():
            assert secret["text"] not in said
            assert secret["text"] not in json.dumps(state["calls"])
            assert secret["modes"] == ["0o600", "0o700"]

    def test_never_asks_for_a_secrets_value(self, azd):
        azd.run("postprovision")
        assert set(azd.commands()) == {"keyvault secret list", "keyvault secret set", "rest"}

    def test_tells_the_app_which_was_made_before_the_keys(self, azd):
        azd.run("postprovision")
        site, _, rest = azd.state()["told"].partition("/config/")
        assert (site, rest.partition("?")[0]) == (ENV["AZURE_FUNCTION_ID"], "configreferences/appsettings/refresh")

    def test_goes_on_where_the_app_cannot_be_told(self, azd):
        azd.set(fail={"rest": ("(Conflict)", -1)})
        code, said = azd.run("postprovision")
        assert (code, "was not told" in said) == (0, True)

    def test_twice_leaves_the_keys_as_they_are(self, azd):
        azd.run("postprovision")
        before = azd.state()["secrets"]
        azd.commands()
        code, said = azd.run("postprovision")
        assert (code, said.count("stays as it is")) == (0, 2)
        assert azd.state()["secrets"] == before
        assert azd.commands() == ["keyvault secret list"] * 2

    def test_waits_for_a_new_right_to_arrive(self, azd):
        azd.set(fail={"keyvault secret list": ("(Forbidden) Caller is not authorized: ForbiddenByRbac", 2)})
        code, said = azd.run("postprovision")
        assert (code, said.count("waiting")) == (0, 2)
        assert len(azd.state()["secrets"]) == 2

    def test_gives_up_with_what_az_said_and_what_to_do(self, azd):
        azd.set(fail={"keyvault secret list": ("(Forbidden) ForbiddenByRbac", -1)})
        code, said = azd.run("postprovision")
        assert code == 1
        assert "ForbiddenByRbac" in said
        assert "Key Vault Secrets Officer" in said
        assert "azd hooks run postprovision" in said
        assert azd.state()["secrets"] == {}

    @pytest.mark.parametrize("why", ["ForbiddenByConnection", "ForbiddenByFirewall"])
    def test_does_not_wait_for_a_closed_network(self, azd, why):
        azd.set(fail={"keyvault secret list": (f"(Forbidden) Inner error: {why}", -1)})
        code, said = azd.run("postprovision")
        assert (code, "waiting" in said, "ALLOWED_IP_ADDRESS" in said) == (1, False, True)

    def test_asks_a_closed_vault_for_nothing_that_is_there(self, azd):
        azd.run("postprovision")
        before = azd.state()["secrets"]
        azd.set(fail={"keyvault secret list": ("(Forbidden) Inner error: ForbiddenByConnection", -1)})
        code, said = azd.run("postprovision")
        assert (code, said.count("stays as it is"), azd.state()["secrets"]) == (0, 2, before)

    def test_says_which_secret_was_not_made(self, azd):
        azd.set(fail={"keyvault secret set": ("(Conflict) ObjectIsDeletedButRecoverable", -1)})
        code, said = azd.run("postprovision")
        assert (code, "approval-keys was not made" in said) == (1, True)

    def test_gives_the_rights_where_logs_go_where_some_are_named(self, azd):
        code, said = azd.run("postprovision", HUBWARDEN_DESTINATIONS="/subscriptions/a/b /subscriptions/c/d")
        assert code == 0, said
        [call] = [call for call in azd.state()["calls"] if call[:2] == ["deployment", "sub"]]
        assert {HOME, f"principalId={PRINCIPAL}", f"appName={APP}"} <= set(call)
        assert any(part.endswith("/infra/destinations.bicep") for part in call)

    def test_fails_where_those_rights_are_not_given(self, azd):
        azd.set(fail={"deployment sub create": ("AuthorizationFailed", -1)})
        code, said = azd.run("postprovision", HUBWARDEN_DESTINATIONS="/subscriptions/a/b")
        assert (code, "no rights where logs go" in said) == (1, True)

    def test_gives_a_management_groups_roles_where_there_is_one(self, azd):
        code, said = azd.run("postprovision", HUBWARDEN_MANAGEMENT_GROUP="plants")
        assert code == 0, said
        [call] = [call for call in azd.state()["calls"] if call[:2] == ["deployment", "mg"]]
        assert {"plants", f"principalId={PRINCIPAL}", f"appName={APP}"} <= set(call)

    @pytest.mark.parametrize("ids", ["", None])
    def test_says_where_nobody_gave_the_app_a_right(self, azd, ids):
        code, said = azd.run("postprovision", HUBWARDEN_SUBSCRIPTIONS=ids)
        assert (code, "MANAGEMENT_GROUP_ID" in said) == (0, True)
        assert "MANAGEMENT_GROUP_ID" not in azd.run("postprovision")[1]

    @pytest.mark.parametrize(("recover", "told"), [("true", True), ("1", True), ("false", False), (None, False)])
    def test_says_that_a_vault_is_brought_back_only_once(self, azd, recover, told):
        code, said = azd.run("postprovision", RECOVER_VAULT=recover)
        assert (code, "RECOVER_VAULT false" in said) == (0, told)

    def test_fails_where_those_roles_are_not_given(self, azd):
        azd.set(fail={"deployment mg create": ("AuthorizationFailed", -1)})
        code, said = azd.run("postprovision", HUBWARDEN_MANAGEMENT_GROUP="plants")
        assert (code, "no rights on the management group plants" in said) == (1, True)


class TestPostdeploy:
    def test_deploys_the_events(self, azd):
        code, said = azd.run("postdeploy", DEVICE_EVENT_HUBS=HUB)
        assert code == 0, said
        given = {name: one["value"] for name, one in azd.state()["deployed"]["parameters"].items()}
        assert given == {
            "location": "westeurope",
            "appName": APP,
            "resourceGroupName": "rg-dev",
            "functionAppName": f"func-{APP}",
            "storageAccountName": "stabcdefghijklm",
            "eventSubscriptionIds": [HOME, OTHER],
            "deviceEventHubs": [HUB],
            "existingSystemTopics": {},
        }

    def test_gives_each_parameter_of_the_template_and_no_other(self, azd):
        azd.run("postdeploy")
        declared = set(re.findall(r"(?m)^param (\w+)", (ROOT / "infra" / "events.bicep").read_text()))
        assert set(azd.state()["deployed"]["parameters"]) == declared

    def test_twice_deploys_the_same(self, azd):
        azd.set(topics=[{"id": TOPIC, "source": f"/subscriptions/{OTHER}", "identity": "x", "events": [APP]}])
        azd.run("postdeploy")
        before = azd.state()["deployed"]
        assert before["parameters"]["existingSystemTopics"]["value"] == {}, "it is our own"
        assert azd.run("postdeploy")[0] == 0
        assert azd.state()["deployed"] == before

    def test_waits_until_the_functions_are_there(self, azd):
        azd.set(functions_after=2)
        code, said = azd.run("postdeploy")
        assert (code, said.count("waiting")) == (0, 2)

    @pytest.mark.parametrize(
        "functions", [[], ["sweep"], ["on_azure_event"], ["on_azure_event_too", "on_device_event"]]
    )
    def test_subscribes_no_function_that_is_not_there(self, azd, functions):
        azd.set(functions=functions)
        code, said = azd.run("postdeploy")
        assert (code, "does not list the functions" in said) == (1, True)
        assert "deployed" not in azd.state()

    def test_uses_the_topic_that_others_have_made_already(self, azd):
        azd.set(
            topics=[{"id": THEIRS, "source": f"/subscriptions/{OTHER.upper()}", "identity": "x", "events": ["y"]}]
        )
        code, said = azd.run("postdeploy")
        assert (code, THEIRS in said) == (0, True)
        existing = azd.state()["deployed"]["parameters"]["existingSystemTopics"]["value"]
        assert existing == {f"/subscriptions/{OTHER}": THEIRS}

    def test_uses_a_hubs_topic_that_others_have_made_already(self, azd):
        azd.set(topics=[{"id": THEIRS, "source": HUB, "identity": "x", "events": []}])
        azd.run("postdeploy", DEVICE_EVENT_HUBS=HUB)
        existing = azd.state()["deployed"]["parameters"]["existingSystemTopics"]["value"]
        assert existing == {HUB.lower(): THEIRS}

    def test_does_not_change_a_topic_of_others_that_has_no_identity(self, azd):
        azd.set(topics=[{"id": THEIRS, "source": f"/subscriptions/{OTHER}", "identity": None, "events": []}])
        code, said = azd.run("postdeploy")
        assert code == 1
        assert "--resource-group theirs --name theirs --identity systemassigned" in said
        assert "deployed" not in azd.state()

    def test_where_all_is_watched_the_operator_says_whose_events(self, azd):
        code, said = azd.run("postdeploy", HUBWARDEN_SUBSCRIPTIONS="", EVENT_SUBSCRIPTIONS=OTHER)
        assert code == 0, said
        assert azd.state()["deployed"]["parameters"]["eventSubscriptionIds"]["value"] == [OTHER]

    def test_where_they_do_not_it_says_so(self, azd):
        code, said = azd.run("postdeploy", HUBWARDEN_SUBSCRIPTIONS="")
        assert (code, "EVENT_SUBSCRIPTIONS" in said) == (0, True)

    def test_takes_nothing_but_ids(self, azd):
        code, said = azd.run("postdeploy", DEVICE_EVENT_HUBS='/subscriptions/a/b"}')
        assert (code, "is no id" in said) == (1, True)
        assert "deployed" not in azd.state()

    def test_tries_once_more_as_new_rights_arrive_late(self, azd):
        azd.set(fail={"deployment sub create": ("the dead letter destination cannot be reached", 1)})
        code, said = azd.run("postdeploy")
        assert (code, "once more" in said, "deployed" in azd.state()) == (0, True, True)

    @pytest.mark.parametrize("command", ["eventgrid system-topic list", "deployment sub create"])
    def test_fails_where_az_does(self, azd, command):
        azd.set(fail={command: ("AuthorizationFailed", -1)})
        code, said = azd.run("postdeploy")
        assert (code, "AuthorizationFailed" in said, "azd hooks run postdeploy" in said) == (1, True, True)


class TestPredown:
    @pytest.fixture
    def provisioned(self, azd):
        azd.set(
            topics=[
                {"id": TOPIC, "source": f"/subscriptions/{OTHER}", "events": [APP]},
                {"id": THEIRS, "source": HUB, "events": [APP, "y"]},
            ],
            groups=[[OTHER, f"rg-{APP}-events"], [OTHER, "theirs"]],
            assignments=[
                f"/subscriptions/{HOME}/resourcegroups/RG-dev/providers/x/roleAssignments/home",
                f"/subscriptions/{OTHER}/providers/x/roleAssignments/reader",
                f"{PLANTS}/providers/x/roleAssignments/reader",
            ],
            roles={
                f"/subscriptions/{OTHER}/{ROLES}/1": f"hubwarden reader {APP} {OTHER}",
                f"/subscriptions/{OTHER}/{ROLES}/2": "somebody else's",
                f"{PLANTS}/{ROLES}/3": f"hubwarden reader {APP} plants",
                f"/subscriptions/{OTHER}/{ROLES}/4": f"copy of hubwarden reader {APP} {OTHER}",
                f"/subscriptions/{OTHER}/{ROLES}/5": f"hubwarden reader {APP}2 {OTHER}",
                f"/subscriptions/{OTHER}/{ROLES}/6": f"hubwarden for those who look after {APP}",
            },
        )
        return azd

    def test_takes_back_what_is_ours_outside_the_home_group_and_nothing_else(self, provisioned):
        code, said = provisioned.run("predown", HUBWARDEN_MANAGEMENT_GROUP="plants")
        assert code == 0, said
        state = provisioned.state()
        assert [(topic["id"], topic["events"]) for topic in state["topics"]] == [(THEIRS, ["y"])]
        assert state["groups"] == [[OTHER, "theirs"]]
        assert [assignment.rpartition("/")[2] for assignment in state["assignments"]] == ["home"]
        assert [name.rpartition("/")[2] for name in state["roles"]] == ["2", "4", "5", "6"]

    def test_twice_finds_nothing_more_to_do(self, provisioned):
        provisioned.run("predown", HUBWARDEN_MANAGEMENT_GROUP="plants")
        provisioned.commands()
        assert provisioned.run("predown", HUBWARDEN_MANAGEMENT_GROUP="plants")[0] == 0
        assert not [command for command in provisioned.commands() if "delete" in command]

    def test_leaves_a_topic_that_others_have_subscribed_to_and_says_so(self, provisioned):
        provisioned.set(topics=[{"id": TOPIC, "source": f"/subscriptions/{OTHER}", "events": [APP, "y"]}])
        code, said = provisioned.run("predown")
        assert (code, "others use it" in said) == (1, True)
        assert [topic["events"] for topic in provisioned.state()["topics"]] == [["y"]]
        assert [OTHER, f"rg-{APP}-events"] in provisioned.state()["groups"]

    def test_a_hubs_topic_is_found_where_nothing_else_is_watched(self, provisioned):
        topic = f"/subscriptions/{OTHER}/resourceGroups/Plant/providers/x/systemTopics/evgt-press-{APP}"
        provisioned.set(topics=[{"id": topic, "source": HUB, "events": [APP]}])
        only_home = {"HUBWARDEN_SUBSCRIPTIONS": HOME, "HUBWARDEN_ROLE_SUBSCRIPTIONS": HOME}
        assert provisioned.run("predown", DEVICE_EVENT_HUBS=HUB, **only_home)[0] == 0
        assert provisioned.state()["topics"] == []

    @pytest.mark.parametrize(
        "command",
        [
            "eventgrid system-topic list",
            "eventgrid system-topic event-subscription list",
            "eventgrid system-topic event-subscription delete",
            "eventgrid system-topic delete",
            "group exists",
            "group delete",
            "resource list",
            "role assignment list",
            "role assignment delete",
            "rest",
        ],
    )
    def test_what_fails_is_named_and_the_rest_is_done_and_azd_stops(self, provisioned, command):
        provisioned.set(fail={command: ("AuthorizationFailed", -1)})
        code, said = provisioned.run("predown")
        assert (code, "so nothing else was begun" in said) == (1, True)
        assert OTHER in said.partition("still there")[2]
        if not command.startswith("role"):
            assert not any("reader" in one and OTHER in one for one in provisioned.state()["assignments"])

    def test_in_a_subscription_that_was_taken_out_of_the_policy_file_it_does_so_alone(self, provisioned):
        before = provisioned.state()
        code, said = provisioned.run(
            "predown", OTHER.upper(), HUBWARDEN_SUBSCRIPTIONS=HOME, HUBWARDEN_MANAGEMENT_GROUP="plants"
        )
        assert code == 0, said
        calls = provisioned.state()["calls"]
        assert not [call for call in calls if HOME in " ".join(call)]
        assert [one for one in before["assignments"] if OTHER not in one] == provisioned.state()["assignments"]
        assert [name.rpartition("/")[2] for name in provisioned.state()["roles"]] == ["2", "3", "4", "5", "6"]

    @pytest.mark.parametrize(
        "wrong", ["hubwarden", "hubwarden-", "a", "' || '", "hubwarden-a b", "my-hubwarden-a"]
    )
    def test_takes_nothing_but_a_name_of_ours(self, provisioned, wrong):
        code, said = provisioned.run("predown", HUBWARDEN_APP_NAME=wrong)
        assert (code, "which is no name that main.bicep gives" in said) == (1, True)
        assert not [command for command in provisioned.commands() if "delete" in command or "list" in command]

    def test_without_anything_provisioned_there_is_nothing_to_do(self, azd):
        assert azd.run("predown", HUBWARDEN_APP_NAME=None)[0] == 0
        assert azd.state()["calls"] == []


class TestEachHook:
    @pytest.mark.parametrize("hook", HOOKS)
    def test_says_that_az_is_missing_and_does_nothing(self, without_az, hook):
        code, said = without_az.run(hook)
        assert (code, "az) is not on the PATH, so nothing was done" in said) == (1, True)

    @pytest.mark.parametrize("hook", HOOKS)
    def test_says_that_nobody_is_signed_in_and_does_nothing(self, azd, hook):
        azd.set(fail={"account show": ("Please run 'az login'", -1)})
        code, said = azd.run(hook)
        assert (code, "az login" in said, azd.commands()) == (1, True, [])

    @pytest.mark.parametrize(("hook", "settings"), NEEDED.items())
    def test_names_the_setting_that_is_missing_and_asks_azure_nothing(self, azd, hook, settings):
        for setting in settings:
            code, said = azd.run(hook, **{setting: None})
            assert (code, f"{setting} is not set" in said) == (1, True)
        assert azd.state()["calls"] == []

    @pytest.mark.parametrize("hook", HOOKS)
    def test_azd_runs_it_on_each_system(self, hook):
        hooks = yaml.safe_load((ROOT / "azure.yaml").read_text())["hooks"]
        assert set(hooks) == set(HOOKS)
        assert hooks[hook]["posix"] == {"shell": "sh", "run": f"infra/hooks/{hook}.sh"}
        assert hooks[hook]["windows"] == {"shell": "pwsh", "run": f"infra/hooks/{hook}.ps1"}
        assert os.access(ROOT / "infra" / "hooks" / f"{hook}.sh", os.X_OK)

    def test_each_choice_gets_to_the_workflow_too_where_it_would_go_back_to_its_default(self):
        choices = set(re.findall(r"\$\{(\w+)", (ROOT / "infra" / "main.parameters.json").read_text()))
        of_azd = {name for name in choices if name.startswith("AZURE_")}
        of_hooks = {"DEVICE_EVENT_HUBS", "EVENT_SUBSCRIPTIONS"}
        workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "deploy.yml").read_text())
        given = workflow["jobs"]["deploy"]["env"]
        once = {"RECOVER_VAULT"}
        wanted = (choices - of_azd - once) | of_hooks
        assert {name for name in given if not name.startswith("AZURE_")} == wanted
        assert all(given[name] == f"${{{{ vars.{name} }}}}" for name in wanted)
        assert set(yaml.safe_load((ROOT / "azure.yaml").read_text())["pipeline"]["variables"]) == wanted

    def test_the_policy_file_is_made_before_the_package(self):
        steps = yaml.safe_load((ROOT / "azure.yaml").read_text())["workflows"]["up"]["steps"]
        assert [step["azd"].split()[0] for step in steps] == ["provision", "deploy"], "deploy packages first"

    @pytest.mark.parametrize("name", [*HOOKS, "common"])
    def test_has_a_twin_that_is_powershell(self, name):
        parser = tree_sitter.Parser(tree_sitter.Language(tree_sitter_powershell.language()))
        assert not parser.parse(_text(name, "ps1").encode()).root_node.has_error

    @pytest.mark.parametrize("name", [*HOOKS, "common"])
    def test_has_a_twin_with_the_same_commands_of_az(self, name):
        assert sorted(_commands(_twin(name, "sh"))) == sorted(_commands(_twin(name, "ps1")))

    @pytest.mark.parametrize("name", [*HOOKS, "common"])
    def test_has_a_twin_that_reads_the_same_settings(self, name):
        assert _settings(_twin(name, "sh")) == _settings(_twin(name, "ps1"))

    @pytest.mark.parametrize("name", HOOKS)
    def test_has_a_twin_that_says_the_same(self, name):
        only_there = {"", "random bytes could secret made"}  # .NET throws where there are none
        assert _said(_twin(name, "sh")) - only_there == _said(_twin(name, "ps1"))

    @pytest.mark.parametrize("name", HOOKS)
    def test_asks_for_outputs_that_the_deployment_has(self, name):
        outputs = set(re.findall(r"(?m)^output ([A-Z_]+) ", (ROOT / "infra" / "main.bicep").read_text()))
        assert set(NEEDED[name]) - {"AZURE_SUBSCRIPTION_ID", "AZURE_ENV_NAME"} <= outputs, (
            "those two are azd's own"
        )


def _text(name, suffix):
    return (ROOT / "infra" / "hooks" / f"{name}.{suffix}").read_text()


def _twin(name, suffix):
    """Its text without comments, a command a line."""
    text = re.sub(r"(?m)^\s*#.*$", "", _text(name, suffix))
    return re.sub(r"\s*[\\`]\n\s*", " ", text)


def _commands(text):
    """Each command of az with its options."""
    return [
        (command, *sorted(re.findall(r"(?<= )--[a-z-]+", rest)))
        for command, rest in re.findall(r"(?:^|[\s(@])az ((?:[a-z-]+ )*?[a-z-]+)((?= --).*)", text)
        if not command.startswith(("is ", "says"))
    ]


def _settings(text):
    return set(re.findall(r"\b(?:AZURE|HUBWARDEN|EVENT|DEVICE|KILL)_[A-Z_]+\b", text))


def _said(text):
    """The words of each sentence that it can say, without what is filled in."""
    texts = re.findall(r"""(?:say|stop|failed|Say|Stop-Hook|Add\()\s*(?:"((?:[^"]|`")*)"|'([^']*)')""", text)
    return {
        " ".join(re.findall(r"[A-Za-z']{4,}", re.sub(r"`n|\$\{\w+\}|\$(?:env:)?\w+", " ", "".join(pair))))
        for pair in texts
    }
