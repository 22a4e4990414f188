"""The policy file as it is in use, and what is made for it."""

from __future__ import annotations

import asyncio
import logging

from collections.abc import Callable, Mapping

from hubwarden.domain.channels import Notify
from hubwarden.domain.policy import Policy
from hubwarden.domain.targets import Tickets
from hubwarden.service.ports import Channel, PolicySource, Ports, TicketSystem


log = logging.getLogger(__name__)


class PolicyUnusableError(Exception):
    """The policy file cannot be used; the message says why, line by line."""


class PolicyInUse:
    """The last good policy, and the ticket system, the channels and the ports that are made for it.

    Work that is under way goes on with those with which it began: ``old_tickets`` and ``old_channels`` are for
    whoever closes them at the end.
    """

    def __init__(
        self,
        file: PolicySource,
        *,
        make_tickets: Callable[[Tickets], TicketSystem],
        make_channels: Callable[[Notify], Mapping[str, Channel]],
        make_ports: Callable[[Policy, TicketSystem, Mapping[str, Channel]], Ports],
    ) -> None:
        self._file = file
        self._make_tickets, self._make_channels, self._make_ports = make_tickets, make_channels, make_ports
        self._ports: Ports | None = None
        self.old_tickets: list[TicketSystem] = []
        self.old_channels: list[Channel] = []
        found = file.look(first=True)
        self.tickets = make_tickets(found.tickets if found else Tickets())
        self.channels = make_channels(found.notify if found else Notify())
        if found is not None:
            file.keep(found)

    @property
    def policy(self) -> Policy | None:
        """The last good one; None where there was none yet."""
        return self._file.policy

    @property
    def problems(self) -> str:
        """What is wrong with the file as it is now."""
        return self._file.problems

    @property
    def told(self) -> str:
        """The problems, fit for the log; the health page and the command line say them in full."""
        return self._file.told

    @property
    def not_ready(self) -> str | None:
        """Why nothing is judged or fixed for now, or None."""
        return None if self.policy is not None else self.problems

    @property
    def ports(self) -> Ports:
        """The use cases' world under this policy.

        Raises:
            PolicyUnusableError: there is no good one.
        """
        if self.policy is None:
            raise PolicyUnusableError(self.problems)
        if self._ports is None:
            self._ports = self._make_ports(self.policy, self.tickets, self.channels)
        return self._ports

    async def refresh(self) -> None:
        """Use the policy file as it is by now; one that turned bad changes nothing, and health says so."""
        before = self.problems
        found = await asyncio.to_thread(self._file.look)
        if found is not None:
            self._use(found)
        if self.problems and self.problems != before:
            log.error("%s", self.told)

    def _use(self, policy: Policy) -> None:
        before = self.policy
        tickets, channels = self.tickets, self.channels
        if policy.tickets != (before.tickets if before else Tickets()):
            tickets = self._make_tickets(policy.tickets)
        if policy.notify != (before.notify if before else Notify()):
            channels = self._make_channels(policy.notify)
        if tickets is not self.tickets:
            self.old_tickets.append(self.tickets)
        if channels is not self.channels:
            self.old_channels.extend(self.channels.values())
        self.tickets, self.channels, self._ports = tickets, channels, None
        self._file.keep(policy)
        log.warning("the policy file has changed and is in use as it is now")
