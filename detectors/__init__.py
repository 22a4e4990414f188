"""The rules, in the order in which reports list them. A rule that is not in this tuple does not exist."""

from __future__ import annotations

from typing import Final

from detectors import defender_devices, defender_hub, diagnostics, sas_policies, tls_minimum
from hubwarden.domain.rule import Rule


RULES: Final[tuple[Rule, ...]] = (
    tls_minimum.RULE,
    diagnostics.RULE,
    sas_policies.RULE,
    defender_hub.RULE,
    defender_devices.RULE,
)
