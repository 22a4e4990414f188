"""defender-hub: the hub must be watched by an IoT security solution that really watches.

That the subscription has an enabled solution proves nothing: it counts whether this hub is in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Final

from pydantic import AfterValidator, Field, StringConstraints

from detectors._sight import ShapeError, unseen
from detectors._solutions import SOLUTION, WORKSPACE, Solution, solutions_of
from hubwarden.domain.hub_id import HubId
from hubwarden.domain.jsons import Json
from hubwarden.domain.permissions import Permissions
from hubwarden.domain.rule import ManualFix, Rule, RuleSettings
from hubwarden.domain.severity import Severity
from hubwarden.domain.snapshot import Facet, Snapshot
from hubwarden.domain.verdict import Compliant, Drift, Unknown, Verdict


_SEEN: Final = "among the solutions that hubwarden may read"


def _solution(text: str) -> str:
    if SOLUTION.fullmatch(text) is None:
        raise ValueError(f"not the resource id of an IoT security solution: {text!r}")
    return text


def _workspace(text: str) -> str:
    if WORKSPACE.fullmatch(text) is None:
        raise ValueError(f"not the resource id of a Log Analytics workspace: {text!r}")
    return text


type _Location = Annotated[str, StringConstraints(strip_whitespace=True, pattern=r"^[A-Za-z0-9 ]{1,50}$")]
type _Type = Annotated[str, StringConstraints(pattern=r"^IoT_[A-Za-z0-9_]{1,100}$")]


class Settings(RuleSettings):
    """Settings of defender-hub."""

    solution: Annotated[str, AfterValidator(_solution)] | None = Field(
        None,
        description="Resource id of the IoT security solution to add hubs to, in the hubs' own subscription. "
        "It is created where it does not exist. Without it there is no fix.",
    )
    workspace: Annotated[str, AfterValidator(_workspace)] | None = Field(
        None, description="Resource id of the workspace for a solution that is created, or has none."
    )
    location: _Location | None = Field(None, description="The region of a solution that is created.")
    recommendations: list[_Type] = Field(
        default_factory=lambda: ["IoT_SharedCredentials", "IoT_PrivilegedDockerOptions"],
        description="Types of recommendations that must not be switched off. The two by default are those that "
        "Microsoft rates high; neither needs an agent on a device.",
    )


def detect(snapshot: Snapshot, settings: Settings) -> Iterator[Verdict]:
    """Look for one solution that is right in everything; one verdict a hub.

    A list leaves out what the identity may not read: a drift says what is seen, not that there is no more.
    """
    blind = unseen(snapshot, Facet.DEFENDER)
    if blind:
        yield blind
        return
    try:
        yield judge(solutions_of(snapshot.read(Facet.DEFENDER)), snapshot.hub, settings)
    except ShapeError as error:
        yield Unknown(str(error))


def judge(solutions: Sequence[Solution], hub: HubId, settings: Settings) -> Verdict:
    """The verdict on a hub, by the best of the solutions that it is in."""
    mine = [solution for solution in solutions if hub in solution.hubs]
    if not mine:
        return _not_onboarded(settings)
    best = min(mine, key=lambda solution: [*_faults(solution, settings).values()])
    if any(_faults(best, settings).values()):
        return _drift(best, mine, settings)
    return _covered([one for one in mine if not any(_faults(one, settings).values())], settings)


def _faults(solution: Solution, settings: Settings) -> dict[str, bool]:
    """Cause → whether the solution has this fault, the worst first."""
    return {
        "disabled": not solution.enabled,
        "no-workspace": solution.workspace is None,
        "recommendation-off": bool(solution.off(settings.recommendations)),
    }


_SAYS: Final[dict[str, Callable[[Solution, Settings], str]]] = {
    "disabled": lambda solution, _: f"is not Enabled (its status is {solution.status!r})",
    "no-workspace": lambda *_: "has no workspace",
    "recommendation-off": lambda solution, settings: (
        f"has required recommendations switched off: {', '.join(solution.off(settings.recommendations))}"
    ),
}


def _not_onboarded(settings: Settings) -> Drift:
    return Drift(
        f"the hub is in no IoT security solution {_SEEN}",
        evidence={
            "cause": "not-onboarded",
            "solution": None,
            "solutions": [],
            "off": [],
            "required": [*settings.recommendations],
        },
    )


def _drift(best: Solution, mine: Sequence[Solution], settings: Settings) -> Drift:
    faults = [cause for cause, there in _faults(best, settings).items() if there]
    said = ", and ".join(_SAYS[cause](best, settings) for cause in faults)
    off: list[Json] = [*best.off(settings.recommendations)]
    return Drift(
        f"the hub's IoT security solution {best.id} {said}; there is no better one {_SEEN}",
        evidence={
            "cause": faults[0],
            "solution": best.id,
            "solutions": [solution.id for solution in mine],
            "off": off,
            "required": [*settings.recommendations],
        },
        severity=Severity.LOW if faults == ["recommendation-off"] else None,
    )


def _covered(fine: Sequence[Solution], settings: Settings) -> Verdict:
    sure = next((solution for solution in fine if not solution.strange(settings.recommendations)), None)
    if sure is None:
        types = ", ".join(fine[0].strange(settings.recommendations))
        return Unknown(f"the IoT security solution {fine[0].id} lists no recommendation named {types}")
    return Compliant({
        "solution": sure.id,
        "workspace": sure.workspace,
        "required": [*settings.recommendations],
    })  # fmt: skip


RULE: Final = Rule(
    id="defender-hub",
    title="Hubs are watched by Microsoft Defender for IoT",
    severity=Severity.MEDIUM,
    risk="Nobody is told when the hub or its devices are attacked.",
    recommendation="Monitor the hub for threats: Microsoft Defender for IoT on every hub",
    reads=(Facet.HUB, Facet.DEFENDER),
    permissions=Permissions(
        actions=("Microsoft.Devices/IotHubs/read", "Microsoft.Security/iotSecuritySolutions/read")
    ),
    settings=Settings,
    detect=detect,
    benchmarks=("MCSB LT-1", "CIS Azure Foundations 2.0.0 2.2.1"),
    reference="https://learn.microsoft.com/azure/defender-for-iot/device-builders/quickstart-onboard-iot-hub",
    manual_fix=ManualFix(
        cli=(
            "az resource update --ids <solution id> --api-version 2019-08-01 --set properties.status=Enabled "
            "--add properties.iotHubs /subscriptions/{subscription}/resourceGroups/{resource_group}"
            "/providers/Microsoft.Devices/IotHubs/{name}"
        ),
        bicep=(
            "resource solution 'Microsoft.Security/iotSecuritySolutions@2019-08-01' = { … properties: { "
            "displayName: 'hubs', status: 'Enabled', workspace: workspaceId, iotHubs: [hub.id] } }"
        ),
        portal="IoT Hub > Defender for IoT > Overview > Secure your IoT solution; then its Settings.",
    ),
)
