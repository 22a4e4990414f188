"""What every unit test stands on: no deadlines, so that a busy machine makes nothing flaky."""

from __future__ import annotations

from hypothesis import HealthCheck, settings


settings.register_profile(
    "unit", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow], database=None
)
settings.load_profile("unit")
