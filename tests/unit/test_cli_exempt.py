"""What the command line shows of drifts that are accepted, and while nothing may be changed."""

from __future__ import annotations

from datetime import date

import pytest

from hubwarden.domain.exemption import Exempted
from hubwarden.domain.finding import State
from tests.unit.test_cli import Desk


EXEMPTED = Exempted(date(2026, 12, 24), "a \x1b[31mmigration", "jo", "policy exemptions[0]")


@pytest.fixture
def desk(tmp_path):
    desk = Desk(tmp_path)
    desk.world.hubs.add(minTlsVersion="1.0")
    desk.sweep()
    return desk


def test_what_is_exempt_has_a_section_of_its_own_and_counts_as_drift(desk):
    finding = desk.change(state=State.EXEMPT, exempted=EXEMPTED)
    result = desk.run("findings")
    assert result.exit_code == 2
    before, _, section = result.stdout.partition("\nExempt\n")
    assert "No drift is known but what is exempt." in before
    assert finding.id not in before
    assert all(word in section for word in (finding.id, "2026-12-24", "jo", "\\x1b[31mmigration", "exemptions[0]"))
    assert "exempt until 2026-12-24 by jo" in desk.run("show", finding.id).stdout


def test_the_json_says_by_what_a_finding_is_exempt(desk):
    assert desk.json("findings")[1]["findings"][0]["exemption"] is None
    desk.change(state=State.EXEMPT, exempted=EXEMPTED)
    [told] = desk.json("findings")[1]["findings"]
    assert told["exemption"] == {
        "until": "2026-12-24", "reason": EXEMPTED.reason, "owner": "jo", "source": "policy exemptions[0]",
    }  # fmt: skip


@pytest.mark.parametrize("observe", [True, False])
def test_it_says_whether_azure_may_be_changed(desk, observe):
    if observe:
        desk.policy.write_text(desk.policy.read_text() + "enforcement: observe\n")
    assert ("nothing is changed in Azure" in desk.run("findings").stdout) is observe
    assert desk.json("findings")[1]["enforcement"] == ("observe" if observe else "enforce")
