"""Which hubs something is for: patterns over their names."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from hubwarden.domain.hub_id import HubId


type _Pattern = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, to_lower=True)]


class Where(BaseModel):
    """Hubs by their names; ``*`` and ``?`` stand for any text and any letter, and case does not count."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    subscription: _Pattern = Field("*", description="Id of the subscription.")
    resource_group: _Pattern = Field("*", description="Name of the resource group.")
    hub: _Pattern = Field("*", description="Name of the hub.")

    def matches(self, hub: HubId) -> bool:
        """Whether the hub is one of these."""
        pairs = ((hub.subscription, self.subscription), (hub.resource_group, self.resource_group))
        return all(fnmatchcase(name, pattern) for name, pattern in (*pairs, (hub.name, self.hub)))
