"""What Defender for Cloud makes of the properties of an IoT security solution."""

from collections.abc import Iterable, Mapping
from typing import Any

from local.azure_simulator.wire import Json


RECOMMENDATIONS = {
    "IoT_ACRAuthentication": "Service prinicpal not used with ACR repository",
    "IoT_AgentSendsUnutilizedMessages": "Agent sending underutilized messages",
    "IoT_AuditdNotReceived": "Auditd process stopped sending events",
    "IoT_Baseline": "Operating system (OS) baseline validation failure",
    "IoT_EdgeHubMemOptimize": "IoT Edge Hub memory can be optimized",
    "IoT_EdgeLoggingOptions": "No logging configured for IoT Edge module",
    "IoT_InconsistentModuleSettings": "SecurityGroup has inconsistent module settings",
    "IoT_InstallAgent": "Install the Azure IoT Security agent",
    "IoT_IPFilter_DenyAll": "Default IP filter policy should be deny",
    "IoT_IPFilter_PermissiveRule": "IP filter rule includes a large IP range",
    "IoT_OpenPorts": "Device has open ports",
    "IoT_PermissiveFirewallPolicy": "Permissive firewall policy in one of the chains",
    "IoT_PermissiveInputFirewallRules": "Permissive firewall rule in the input chain",
    "IoT_PermissiveOutputFirewallRules": "Permissive firewall rule in the output chain",
    "IoT_PrivilegedDockerOptions": "High level permissions configured in IoT Edge model twin for IoT Edge module",
    "IoT_RecommendedIpRulesByBaseLine": "Recommended Rules for ip filter",
    "IoT_SharedCredentials": "Same authentication credentials used by multiple devices",
    "IoT_VulnerableTLSCipherSuite": "TLS cipher suite upgrade needed",
    "IoT_EOL_OSversion": "Operating System (OS) on this device should be updated from current end-of-life version",
}
"""Type and name of what a new solution of 2021 checks, the service's spelling included.

The definition lists 16 of them; recordings from 2022 on have up to 120 more (`IoT_CISBenchmarks_*`,
`IoT_OTRecommendation_*`, `IoT_Recommendation_*`), which are left out here.
"""


def new_properties(sent: Mapping[str, Any]) -> Json:
    """The properties after a PUT: what was not sent is at its default, all recommendations are Enabled."""
    resources = sent.get("userDefinedResources") or {"query": None, "querySubscriptions": None}
    defaults = [
        {"recommendationType": kind, "name": name, "status": "Enabled"} for kind, name in RECOMMENDATIONS.items()
    ]
    return {
        "displayName": sent["displayName"],
        "status": sent.get("status") or "Enabled",
        "export": list(sent.get("export") or ()),
        "disabledDataSources": list(sent.get("disabledDataSources") or ()),
        "workspace": sent.get("workspace"),
        "additionalWorkspaces": list(sent.get("additionalWorkspaces") or ()),
        "iotHubs": list(sent["iotHubs"]),
        "userDefinedResources": dict(resources),
        "recommendationsConfiguration": merged_recommendations(
            defaults,
            sent.get("recommendationsConfiguration") or (),
        ),
        "autoDiscoveredResources": [],
        "unmaskedIpLoggingStatus": sent.get("unmaskedIpLoggingStatus") or "Disabled",
    }


def merged_recommendations(present: Iterable[Json], sent: Iterable[Mapping[str, Any]]) -> list[Json]:
    """The present list with the statuses that were sent; types that it does not have are added."""
    asked = {str(entry["recommendationType"]): str(entry["status"]) for entry in sent}
    merged = [entry | {"status": asked.pop(entry["recommendationType"], entry["status"])} for entry in present]
    added = ({"recommendationType": kind, "name": kind, "status": status} for kind, status in asked.items())
    return [*merged, *added]
