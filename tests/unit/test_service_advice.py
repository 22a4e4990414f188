"""Settings that together leave people out are told."""

from __future__ import annotations

import pytest

from hubwarden.service.advice import advice
from tests.unit.fakes import policy


ROLES = "approvals:\n  required_roles: [ops]\n"


@pytest.mark.parametrize(("more", "signs_in", "told"), [("", False, 0), (ROLES, True, 0), (ROLES, False, 1)])
def test_roles_that_nobody_can_have_are_told(more, signs_in, told):
    found = list(advice(policy("approve", more=more), signs_in=signs_in))
    assert len(found) == told
    assert all("WEBSITE_AUTH_ENABLED" in sentence for sentence in found)
