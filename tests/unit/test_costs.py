"""The bill of docs/costs.md is the one that is worked out, and its lines move with what they are for."""

from __future__ import annotations

import re

from pathlib import Path

import pytest

from local.costs import NOTHING_FREE, Prices, Use, lines, table


PAGE = Path(__file__).parents[2] / "docs" / "costs.md"


def test_the_page_holds_the_table_as_it_is_worked_out():
    _, _, rest = PAGE.read_text(encoding="utf-8").partition("<!-- made by `python -m local.costs` -->\n")
    assert rest.partition("\n<!-- end -->")[0] == table()


@pytest.mark.parametrize(
    ("more", "dearer"),
    [
        (
            {"hubs": 200},
            {
                "work of the functions",
                "function executions",
                "tables",
                "queues",
                "blobs",
                "Event Grid",
                "logs and metrics",
            },
        ),
        (
            {"sweep_minutes": 5},
            {"work of the functions", "function executions", "tables", "blobs", "logs and metrics"},
        ),
        ({"ready_instances": 1}, {"always-ready instances"}),
        ({"private_endpoints": 4}, {"private endpoints and DNS zones"}),
        ({"alerts": 10}, {"alerts"}),
        ({"memory_gb": 4}, {"work of the functions"}),
    ],
    ids=lambda value: "" if isinstance(value, set) else str(value),
)
def test_each_line_grows_with_what_it_is_for_and_no_other_does(more, dearer):
    base = {"hubs": 100, "alerts": 9}
    before = dict(lines(Use(**base), free=NOTHING_FREE))
    after = dict(lines(Use(**base | more), free=NOTHING_FREE))
    assert {item for item in before if after[item] > before[item]} == dearer
    assert all(after[item] >= before[item] for item in before)


def test_what_is_free_is_taken_off_once_and_never_below_nothing():
    use = Use(100)
    free, dear = dict(lines(use)), dict(lines(use, free=NOTHING_FREE))
    assert all(0 <= free[item] <= dear[item] for item in free)
    assert free["work of the functions"] == 0 < dear["work of the functions"]


def test_the_alerts_are_those_that_are_deployed():
    text = (PAGE.parents[1] / "infra/modules/alerts.bicep").read_text(encoding="utf-8")
    minutes = [int(found) for found in re.findall(r"evaluationFrequency: 'PT(\d+)M'", text)]
    assert (sum(one < 15 for one in minutes), sum(one >= 15 for one in minutes)) == (
        Use(1).quick_alerts,
        Use(1).alerts,
    )


def test_a_sweep_of_a_thousand_hubs_by_hand():
    """2,880 sweeps of 11 s and of 1 s, 90,000 seconds of events, 2 GB each."""
    bill = dict(lines(Use(1000), Prices(gb_second=1), NOTHING_FREE))
    assert bill["work of the functions"] == pytest.approx((2880 * 12 + 90_000) * 2)


def test_an_always_ready_instance_is_paid_for_each_function_that_is_kept_warm():
    text = (PAGE.parents[1] / "infra/modules/app.bicep").read_text(encoding="utf-8")
    warm = re.search(r"^var warm = \[\n((?:  '.+'\n)+)\]", text, flags=re.MULTILINE)
    assert warm is not None
    assert len(warm[1].splitlines()) == Use(1).warm_functions
