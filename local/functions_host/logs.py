"""Log lines on standard error: when, how grave, which function and invocation, who says it, what."""

import logging
import sys
import time

from collections.abc import Callable

from .runtime import current_invocation_id


_FORMAT = "%(asctime)s.%(msecs)03dZ %(levelname)-7s %(invocation)s%(name)s: %(message)s"
_REQUESTS = "azure.core.pipeline.policies.http_logging_policy"


def log_to_stderr(function_of: Callable[[str], str | None]) -> None:
    """Send every record from INFO up to standard error, as the worker does to the host.

    `function_of` names the function of a running invocation.
    """
    handler = logging.StreamHandler(sys.stderr)
    formatter = logging.Formatter(_FORMAT, "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    handler.addFilter(lambda record: _marked(record, function_of))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


def _marked(record: logging.LogRecord, function_of: Callable[[str], str | None]) -> bool:
    """Add the invocation to a record; drop the storage requests that the host itself makes."""
    invocation_id = current_invocation_id()
    if invocation_id is None:
        record.invocation = ""
        return record.name != _REQUESTS
    record.invocation = f"[{function_of(invocation_id) or ''} {invocation_id}] "
    return True
