"""Hearing all that any logger says, for tests that look for keys in it."""

from __future__ import annotations

import contextlib
import logging

from collections.abc import Iterator


class Everything(logging.Handler):
    """All that any logger says."""

    def __init__(self):
        super().__init__(0)
        self.lines = []
        self.setFormatter(logging.Formatter("%(name)s %(levelname)s %(message)s"))

    def emit(self, record):
        self.lines.append(self.format(record) + str(record.__dict__))

    @property
    def text(self):
        return "\n".join(self.lines)


@contextlib.contextmanager
def all_loggers_at_debug() -> Iterator[Everything]:
    """Every logger that exists is at DEBUG, and so is each that comes."""
    handler, root = Everything(), logging.getLogger()
    loggers = [root, *(logging.getLogger(name) for name in list(logging.root.manager.loggerDict))]
    before = [(logger, logger.level, logger.disabled, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
        logger.disabled, logger.propagate = False, True
    root.addHandler(handler)
    yield handler
    root.removeHandler(handler)
    for logger, level, disabled, propagate in before:
        logger.level, logger.disabled, logger.propagate = level, disabled, propagate
        logger.manager._clear_cache()
