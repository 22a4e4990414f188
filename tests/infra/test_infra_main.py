"""What the deployment makes of the policy file and of its parameters: least rights, no key, no harm by chance."""

import re

from pathlib import Path

import pytest

from tests.infra.bicep_values import evaluate


INFRA = Path(__file__).parents[2] / "infra"
NEEDED = {"environmentName": "dev", "location": "westeurope"}
OTHER = "22222222-2222-2222-2222-222222222222"
WORKSPACE = (
    f"/subscriptions/{OTHER.upper()}X/resourceGroups/logs/providers/Microsoft.OperationalInsights/workspaces/w"
)


def main(name, policy=None, **params):
    return evaluate(
        INFRA / "main.bicep", name, {**NEEDED, **params}, files={"policy.yaml": policy or {"subscriptions": []}}
    )


def module(file, name, /, **params):
    return evaluate(INFRA / "modules" / f"{file}.bicep", name, params)


def storage(name, **params):
    given = {
        "auditRetentionDays": 365,
        "auditDeleteAfterDays": 0,
        "auditPolicyLocked": False,
        "allowedIpAddress": "",
    }
    return module("storage", name, **{**given, "closed": False, **params})


def app(name, **params):
    given = {
        "extraSettings": {},
        "authClientId": "",
        "killSwitch": False,
        "alwaysReadyInstances": 0,
        "subnetId": "",
    }
    return module("app", name, **{**given, "authExcludedPaths": [], **params})


class TestThePolicyFile:
    def test_each_subscription_that_it_names_is_watched(self):
        policy = {"subscriptions": ["AAA", "bbb"]}
        assert main("subscriptions", policy) == ["aaa", "bbb"]
        assert len(main("watch", policy)) == 2

    def test_where_it_says_all_the_management_group_is_and_no_single_one(self):
        policy = {"subscriptions": ["all"]}
        assert main("watch", policy) == []
        assert main("HUBWARDEN_SUBSCRIPTIONS", policy) == ""
        assert main("HUBWARDEN_MANAGEMENT_GROUP", policy, managementGroupId="plants") == "plants"

    def test_without_all_a_management_group_gets_nothing(self):
        assert main("HUBWARDEN_MANAGEMENT_GROUP", {"subscriptions": ["a"]}, managementGroupId="plants") == ""

    def test_a_delegated_subscription_gets_no_rights_and_no_events_from_here(self):
        policy = {"subscriptions": ["AAA", "bbb"]}
        assert main("subscriptions", policy, delegatedSubscriptions=["aaa"]) == ["bbb"]

    @pytest.mark.parametrize(("said", "observed"), [({}, False), ({"enforcement": "observe"}, True)])
    def test_whoever_only_observes_gets_no_right_to_write(self, said, observed):
        assert main("observe", {"subscriptions": [], **said}) is observed

    def test_where_roles_are_is_kept_so_that_they_can_be_taken_back(self):
        scopes = [{"settings": {"destination": WORKSPACE}}, {"mode": "off"}]
        policy = {"subscriptions": ["aaa"], "rules": {"diagnostics": {"scopes": scopes}}}
        assert set(main("roleSubscriptions", policy)) >= {"aaa", f"{OTHER}x"}


class TestWhatAzdDownDeletes:
    """Each resource group that the deployment touches, whoever made it: so that is the service's own alone."""

    def test_the_deployment_touches_no_resource_group_but_its_own(self):
        text = (INFRA / "main.bicep").read_text()
        assert set(re.findall(r"(?m)^  scope: (.*)$", text)) == {"group", "subscription(id)"}
        assert len(re.findall(r"(?m)^module ", text)) == len(re.findall(r"(?m)^  scope: ", text))
        assert text.count("Microsoft.Resources/resourceGroups@") == 1

    def test_what_it_puts_into_a_subscription_lies_in_no_resource_group(self):
        text = (INFRA / "modules" / "watch.bicep").read_text()
        assert "targetScope = 'subscription'" in text
        assert not re.findall(r"(?m)^\s*(?:scope:|module )", text)

    def test_what_touches_other_groups_is_no_part_of_it(self):
        modules = {
            path.name
            for path in (INFRA / "modules").glob("*.bicep")
            if "scope: resourceGroup(" in path.read_text()
        }
        called = set(re.findall(r"'modules/(\w+\.bicep)'", (INFRA / "main.bicep").read_text()))
        assert modules, "there are such modules"
        assert not modules & called


class TestSettings:
    def test_the_operators_own_replace_none_of_ours(self):
        settings = app("settings", killSwitch=True, extraSettings={"HUBWARDEN_KILL": "0", "MINE": "x"})[
            "properties"
        ]
        assert (settings["HUBWARDEN_KILL"], settings["MINE"]) == ("1", "x")

    def test_a_secret_of_the_vault_is_only_named(self):
        [(name, value)] = main("vaultReferences", vaultSettings={"HUBWARDEN_GITHUB_TOKEN": "github-token"}).items()
        assert name == "HUBWARDEN_GITHUB_TOKEN"
        assert re.fullmatch(r"@Microsoft\.KeyVault\(VaultName=kv-.*;SecretName=github-token\)", value)

    @pytest.mark.parametrize("instances", [0, 2])
    def test_nothing_is_kept_warm_unless_asked_for(self, instances):
        ready = app("site", alwaysReadyInstances=instances)["properties"]["functionAppConfig"][
            "scaleAndConcurrency"
        ]
        assert [one["instanceCount"] for one in ready["alwaysReady"]] == [2, 2][:instances]


class TestTheApp:
    def test_it_takes_no_plain_http_no_old_tls_and_no_password(self):
        site = app("site")["properties"]
        assert site["httpsOnly"] is True
        assert site["siteConfig"]["minTlsVersion"] == site["siteConfig"]["scmMinTlsVersion"] == "1.2"
        assert site["siteConfig"]["ftpsState"] == "Disabled"
        assert [app(name)["properties"] for name in ("noFtp", "noPasswords")] == [{"allow": False}] * 2

    def test_who_is_not_signed_in_is_sent_to_the_login_page_and_no_secret_is_needed(self):
        sign_in = app("signIn", authClientId="c", authExcludedPaths=main("authExcludedPaths"))["properties"]
        assert sign_in["globalValidation"]["unauthenticatedClientAction"] == "RedirectToLoginPage"
        assert "/runtime/webhooks/eventgrid" in sign_in["globalValidation"]["excludedPaths"]
        secret = sign_in["identityProviders"]["azureActiveDirectory"]["registration"]["clientSecretSettingName"]
        assert secret in app("settings", authClientId="c")["properties"]

    def test_approvals_are_never_open_by_default(self):
        assert not [path for path in main("authExcludedPaths") if "approvals" in path or "*" in path]

    def test_without_an_application_nobody_signs_in(self):
        assert app("signIn") is None


class TestStorage:
    def test_no_key_opens_it(self):
        account = storage("account")["properties"]
        assert account["allowSharedKeyAccess"] is account["allowBlobPublicAccess"] is False
        assert account["defaultToOAuthAuthentication"] is True
        assert account["minimumTlsVersion"] == "TLS1_2"

    @pytest.mark.parametrize(
        ("closed", "address", "public", "default"),
        [
            (False, "", "Enabled", "Allow"),
            (True, "", "Disabled", "Deny"),
            (True, "203.0.113.7", "Enabled", "Deny"),
        ],
    )
    def test_it_is_as_closed_as_was_asked_for_and_takes_dead_letters(self, closed, address, public, default):
        for resource in (
            storage("account", closed=closed, allowedIpAddress=address),
            module("vault", "vault", closed=closed, allowedIpAddress=address, recover=False),
        ):
            properties = resource["properties"]
            assert properties["publicNetworkAccess"] == public
            assert properties["networkAcls"]["defaultAction"] == default
            assert properties["networkAcls"]["bypass"] == "AzureServices"
            assert [rule["value"] for rule in properties["networkAcls"]["ipRules"]] == [address] * bool(address)

    def test_the_audit_trail_can_grow_and_nothing_of_it_can_be_changed(self):
        policy = storage("auditPolicy")
        assert "hubwarden-audit" in policy["parent"]
        assert policy["properties"] == {
            "immutabilityPeriodSinceCreationInDays": 365,
            "allowProtectedAppendWrites": True,
        }

    def test_a_locked_policy_is_left_alone(self):
        assert storage("auditPolicy", auditPolicyLocked=True) is None

    def test_no_blob_of_the_trail_is_deleted_unless_asked_for_and_never_while_it_must_stand(self):
        def deleted(days):
            rules = storage("lifecycle", auditDeleteAfterDays=days)["properties"]["policy"]["rules"]
            return {
                prefix: rule["definition"]["actions"]["baseBlob"]["delete"]["daysAfterModificationGreaterThan"]
                for rule in rules
                for prefix in rule["definition"]["filters"]["prefixMatch"]
            }

        others = {"hubwarden-lists/": 90, "hubwarden-poison/": 90, "hubwarden-deadletters/": 7}
        assert deleted(0) == others
        assert deleted(30) == {**others, "hubwarden-audit/": 366}
        assert deleted(1000) == {**others, "hubwarden-audit/": 1000}

    def test_versions_are_off_for_nobody_could_delete_them(self):
        assert storage("blobs")["properties"]["isVersioningEnabled"] is False


class TestTheVault:
    def test_it_goes_by_roles_and_cannot_be_purged(self):
        vault = module("vault", "vault", closed=False, allowedIpAddress="", recover=False)["properties"]
        assert (
            vault["enableRbacAuthorization"] is vault["enablePurgeProtection"] is vault["enableSoftDelete"] is True
        )
        assert vault["createMode"] == "default"

    def test_nobody_deploys_who_is_not_named(self):
        names = {"storageName": "s", "vaultName": "v", "insightsName": "i", "deployerType": "User"}
        assert module("access", "deployerAccess", deployerId="", principalId="p", **names) is None


def test_telemetry_is_taken_by_identity_only():
    assert module("monitoring", "insights", retentionDays=90)["properties"]["DisableLocalAuth"] is True


def test_names_are_short_enough():
    token = "x" * 13  # what uniqueString gives
    assert len(f"st{token}") <= 24
    assert len(f"kv-{token}") <= 24
    assert len(f"func-hubwarden-{token}") <= 32, "the host makes its id of the first 32"
    assert len(f"evgt-{token}-hubwarden-{token}") <= 50


class TestEvents:
    """The predown hook finds by name what is ours: the names of the templates are the names of the hook."""

    APP = "hubwarden-abc"
    THEIRS = f"/subscriptions/{OTHER}/resourceGroups/theirs/providers/Microsoft.EventGrid/systemTopics/their-topic"

    def of_azure(self, name, existing=""):
        return module("azureEvents", name, appName=self.APP, existingTopicId=existing)

    def test_the_hook_knows_the_names_by_heart(self):
        hook = (INFRA / "hooks" / "predown.sh").read_text().replace("$HUBWARDEN_APP_NAME", "$app")
        for name in (self.of_azure("groupName"), self.of_azure("topicName")):
            assert re.search(rf"{re.escape(name.replace(self.APP, '$app'))}(?![\w-])", hook.replace('"', ""))
        assert self.of_azure("events")["params"]["name"] == self.APP

    def test_a_hubs_topic_has_a_name_that_the_hook_takes_for_ours(self):
        name = module("deviceEvents", "topicName", appName=self.APP, existingTopicId="", hubName="press")
        assert re.fullmatch(rf"evgt-.*-{self.APP}", name)

    def test_what_others_have_made_is_used_where_it_is_and_not_made_again(self):
        assert self.of_azure("groupName", self.THEIRS) == "theirs"
        assert self.of_azure("topicName", self.THEIRS) == "their-topic"
        assert self.of_azure("group", self.THEIRS) is None
        assert module("topic", "made", make=False, name="their-topic") is None

    def test_a_topic_of_ours_has_an_identity_for_no_key_opens_the_dead_letters(self):
        assert module("topic", "made", make=True, name="t")["identity"] == {"type": "SystemAssigned"}
        letters = module("eventSubscription", "events", filters=[], eventTypes=[])["properties"]
        assert letters["deadLetterWithResourceIdentity"]["identity"] == {"type": "SystemAssigned"}
        assert "deadLetterDestination" not in letters

    def test_an_event_is_tried_for_a_day(self):
        policy = module("eventSubscription", "events", filters=[], eventTypes=[])["properties"]["retryPolicy"]
        assert policy == {"maxDeliveryAttempts": 30, "eventTimeToLiveInMinutes": 1440}
