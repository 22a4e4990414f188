"""The budget of requests: what is refused, when, and how long that lasts."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from hypothesis import given
from hypothesis import strategies as st

from hubwarden.adapters.azure.budget import Budget
from hubwarden.adapters.azure.errors import NotSentError


HUB = "https://management.azure.com/subscriptions/S-1/resourceGroups/g/providers/Microsoft.Devices/IotHubs/h?a=b"
LEFT = "x-ms-ratelimit-remaining-subscription-"


class Clock:
    """Seconds that pass when the test says so."""

    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def budget(clock):
    return Budget(clock)


def ask(budget, method="GET", url=HUB, **headers):
    """One request whose answer has these headers, as in reads=5."""
    with budget.request(method, url) as told:
        told({LEFT + name.replace("_", "-"): str(value) for name, value in headers.items()})


def refused(budget, method="GET", url=HUB):
    """The seconds to wait, None where it is sent."""
    try:
        ask(budget, method, url)
    except NotSentError as error:
        return error.retry_after.total_seconds()
    return None


def test_nothing_is_refused_before_anything_was_told(budget):
    assert [refused(budget) for _ in range(1000)] == [None] * 1000


@pytest.mark.parametrize(
    "headers", [{"reads": "many"}, {"reads": ""}, {"reads": "-5"}, {"reads": "²"}, {"reads": 10**12}]
)
def test_what_is_no_number_tells_nothing(budget, headers):
    ask(budget, **headers)
    assert refused(budget) is None


@pytest.mark.parametrize(
    ("method", "kind", "reserve", "refill"),
    [
        ("GET", "reads", 20, 25),
        ("HEAD", "reads", 20, 25),
        ("PUT", "writes", 10, 10),
        ("PATCH", "writes", 10, 10),
        ("POST", "writes", 50, 10),
        ("DELETE", "deletes", 20, 10),
    ],
)
@pytest.mark.parametrize(("infix", "factor"), [("", 1), ("global_", 15)])
def test_each_method_leaves_its_reserve_in_both_buckets(
    budget, clock, method, kind, reserve, refill, infix, factor
):
    ask(budget, method, **{infix + kind: reserve * factor + 2})
    assert refused(budget, method) is None
    assert refused(budget, method) is None
    assert refused(budget, method) == 1
    clock.now += 1.0001 / refill / factor
    assert refused(budget, method) is None
    assert refused(budget, method) == 1


def test_listkeys_leaves_writes_to_fixes(budget):
    ask(budget, "POST", writes=30)
    assert refused(budget, "POST") == 3  # 21 more, at 10 a second
    assert [refused(budget, "PUT") for _ in range(20)] == [None] * 20
    assert refused(budget, "PUT") == 1


@pytest.mark.parametrize(("left", "seconds"), [(20, 1), (11, 1), (0, 1), (-4, 1)])
def test_how_long_to_wait_for_reads(budget, clock, left, seconds):
    ask(budget, reads=max(left, 0))
    for _ in range(-left):
        ask_anyway(budget)
    assert refused(budget) == seconds
    clock.now += seconds
    assert refused(budget) is None


def ask_anyway(budget):
    budget._accounts["s-1", "reads"].take(budget._clock())


def test_more_does_not_come_back_than_a_bucket_holds(budget, clock):
    ask(budget, reads=30)
    clock.now += 3600
    assert [refused(budget) for _ in range(230)] == [None] * 230
    assert refused(budget) == 1


def test_a_bucket_that_is_larger_than_documented_is_used(budget):
    ask(budget, reads=11_999)
    assert [refused(budget) for _ in range(11_979)] == [None] * 11_979
    assert refused(budget) == 1


def test_subscriptions_and_kinds_have_buckets_of_their_own(budget):
    ask(budget, reads=0)
    assert refused(budget) == 1
    assert refused(budget, url=HUB.replace("S-1", "s-1")) == 1
    assert refused(budget, url=HUB.replace("S-1", "S-2")) is None
    assert refused(budget, "PUT") is None


@pytest.mark.parametrize(
    "url", ["https://x/subscriptions?a", "https://x/subscriptions/?a", "https://x/providers/x"]
)
def test_what_is_of_no_subscription_is_not_counted(budget, url):
    ask(budget, url=url, reads=0)
    assert refused(budget, url=url) is None


def test_requests_on_their_way_are_counted_as_if_no_answer_knew_of_them(budget):
    with ExitStack() as under_way:
        told = [under_way.enter_context(budget.request("GET", HUB)) for _ in range(10)]
        told[0]({f"{LEFT}reads": "32"})  # 9 others may have to be taken off
        assert [refused(budget) for _ in range(3)] == [None] * 3
        assert refused(budget) == 1


def test_answers_that_overtake_each_other_do_not_make_more_of_it(budget):
    with budget.request("GET", HUB) as late:
        ask(budget, reads=21)
        late({f"{LEFT}reads": "240"})
    assert refused(budget) == 1


def test_an_answer_without_the_header_is_a_request_all_the_same(budget):
    """The IoT Hub provider tells of a count of its own instead."""
    ask(budget, "PUT", writes=13)
    for _ in range(3):
        ask(budget, "PUT", resource_requests=799)
    assert refused(budget, "PUT") == 1


def test_a_request_that_breaks_is_over(budget):
    for _ in range(100):
        with pytest.raises(OSError, match="cut"), budget.request("GET", HUB):
            raise OSError("cut")
    ask(budget, reads=22)
    assert refused(budget) is None


def test_it_says_whose_requests_run_out(budget):
    ask(budget, reads=0)
    with pytest.raises(NotSentError, match=r"^not sent, for the reads of subscription s-1 are running out$"):
        ask(budget)


class Bucket:
    """Azure's side: the documented bucket, which others use too."""

    def __init__(self, left):
        self.left, self.at = float(left), 1000.0

    def take(self, now, *, others=0):
        self.left = min(250.0, self.left + (now - self.at) * 25) - 1 - others
        self.at = now
        return int(self.left)


@given(st.floats(0, 250), st.lists(st.tuples(st.floats(0, 0.2), st.integers(0, 2)), min_size=1, max_size=300))
def test_after_the_first_answer_azure_never_has_to_refuse(left, steps):
    """Others may take as much as the reserve between two of our requests."""
    clock = Clock()
    budget, azure = Budget(clock), Bucket(max(left, 3))
    for pause, others in steps:
        clock.now += pause
        if (wait := refused_by(budget, azure, others)) is not None:
            clock.now += wait
            assert refused_by(budget, azure, 0) is None


def refused_by(budget, azure, others):
    try:
        with budget.request("GET", HUB) as told:
            left = azure.take(budget._clock(), others=others)
            assert left >= 0
            told({f"{LEFT}reads": str(left)})
    except NotSentError as error:
        return error.retry_after.total_seconds()
    return None
