"""``python -m hubwarden.schema`` prints the JSON Schema of the policy file."""

from __future__ import annotations

import json

from detectors import RULES
from hubwarden.domain.policy import policy_schema


if __name__ == "__main__":
    print(json.dumps(policy_schema(RULES), indent=2))  # noqa: T201 - that is its whole job
