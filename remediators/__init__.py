"""The fixes, by rule. A rule that is not in here has none, and its drift goes to people."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from hubwarden.domain.rule import Remediator
from remediators import defender_hub, diagnostics, sas_policies, tls_minimum


REMEDIATORS: Final[Mapping[str, Remediator]] = MappingProxyType({
    remediator.rule_id: remediator
    for remediator in (
        tls_minimum.REMEDIATOR,
        diagnostics.REMEDIATOR,
        sas_policies.REMEDIATOR,
        defender_hub.REMEDIATOR,
    )
})  # fmt: skip
