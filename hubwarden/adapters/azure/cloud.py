"""Which Azure: endpoints of the public and the sovereign clouds, or one's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, slots=True)
class Cloud:
    """One cloud's endpoints. ``custom`` ones have an authority that Entra's public directory does not know.

    ``hubs`` is the audience of the hubs' data planes, ``hub_suffix`` what their host names end with, and
    ``data_plane`` the address of one, with ``{hostName}`` for its host name. Azure's own IoT SDKs
    know one audience for US Government and one for all others.
    """

    arm: str
    audience: str
    authority: str
    storage_suffix: str = "core.windows.net"
    custom: bool = False
    hubs: str = "https://iothubs.azure.net"
    hub_suffix: str = ".azure-devices.net"
    data_plane: str = "https://{hostName}"

    @property
    def scope(self) -> str:
        """The token scope of Azure Resource Manager."""
        return f"{self.audience.rstrip('/')}/.default"

    @property
    def hubs_scope(self) -> str:
        """The token scope of the hubs' data planes."""
        return f"{self.hubs}/.default"


CLOUDS: Final[Mapping[str, Cloud]] = MappingProxyType({
    "public": Cloud(
        "https://management.azure.com", "https://management.azure.com", "https://login.microsoftonline.com"
    ),
    "usgov": Cloud(
        "https://management.usgovcloudapi.net",
        "https://management.usgovcloudapi.net",
        "https://login.microsoftonline.us",
        "core.usgovcloudapi.net",
        hubs="https://iothubs.azure.us",
        hub_suffix=".azure-devices.us",
    ),
    "china": Cloud(
        "https://management.chinacloudapi.cn",
        "https://management.chinacloudapi.cn",
        "https://login.chinacloudapi.cn",
        "core.chinacloudapi.cn",
        hub_suffix=".azure-devices.cn",
    ),
})  # fmt: skip
