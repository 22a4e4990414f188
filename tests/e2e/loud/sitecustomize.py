"""With this folder on PYTHONPATH a process logs everything at DEBUG, whatever its code asks for."""

import logging

from typing import Any


_set_level = logging.Logger.setLevel


def _debug(self: logging.Logger, _level: Any) -> None:
    _set_level(self, logging.DEBUG)


logging.Logger.setLevel = _debug  # type: ignore[method-assign]
