"""Which Azure: endpoints of the public and the sovereign clouds, or one's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, slots=True)
class Cloud:
    """One cloud's endpoints. ``custom`` ones have an authority that Entra's public directory does not know."""

    arm: str
    audience: str
    authority: str
    storage_suffix: str = "core.windows.net"
    custom: bool = False

    @property
    def scope(self) -> str:
        """The token scope of Azure Resource Manager."""
        return f"{self.audience.rstrip('/')}/.default"


CLOUDS: Final[Mapping[str, Cloud]] = MappingProxyType({
    "public": Cloud(
        "https://management.azure.com", "https://management.azure.com", "https://login.microsoftonline.com"
    ),
    "usgov": Cloud(
        "https://management.usgovcloudapi.net",
        "https://management.usgovcloudapi.net",
        "https://login.microsoftonline.us",
        "core.usgovcloudapi.net",
    ),
    "china": Cloud(
        "https://management.chinacloudapi.cn",
        "https://management.chinacloudapi.cn",
        "https://login.chinacloudapi.cn",
        "core.chinacloudapi.cn",
    ),
})  # fmt: skip
