"""advice: settings that are each right and together leave people out; health tells."""

from __future__ import annotations

from collections.abc import Iterator

from hubwarden.domain.policy import Policy


def advice(policy: Policy, *, signs_in: bool) -> Iterator[str]:
    """What whoever wrote the policy file cannot have meant, one sentence each.

    Args:
        policy: the file in use.
        signs_in: whether the platform authenticates people.
    """
    if policy.approvals.required_roles and not signs_in:
        yield (
            "approvals.required_roles is set, and the platform signs nobody in (WEBSITE_AUTH_ENABLED): nobody can "
            "decide on the page or by webhook, only by command line"
        )
