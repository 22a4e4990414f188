"""The soak in short: ``make soak`` is the long one."""

from __future__ import annotations

import pytest

from local.azurite import why_azurite_cannot_run
from local.soak.run import Plan, soak


pytestmark = pytest.mark.skipif(why_azurite_cannot_run() is not None, reason=str(why_azurite_cannot_run()))

SHORT = {
    "kills, faults and frozen storage": Plan(seed=20261125, seconds=45, hubs=10),
    "two hosts on one storage account": Plan(seed=7, seconds=30, hubs=10, hosts=2, kills=False),
}


@pytest.mark.parametrize("name", SHORT)
async def test_nothing_is_lost_nothing_is_written_twice_and_every_write_is_audited(tmp_path, name):
    report = await soak(SHORT[name], tmp_path)
    assert report.wrong == (), report.text
    assert report.drifts > 5, "there was something to do"
    assert report.writes > 3
