"""With this folder on PYTHONPATH a functions host kills itself at one of the numbered points (tests/points.py).

``DIES_AT`` says on which hub, and at which point: ``hub-name:findings.save executing``.
"""

from __future__ import annotations

import importlib.abc
import importlib.util
import os
import signal
import sys

from typing import Any


class _Composed(importlib.abc.MetaPathFinder):
    """Waits for the entrance of messages, which calls the use cases by their names."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if name != "hubwarden.entrances.messages":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.loader is not None
        load = spec.loader.exec_module

        def exec_module(module: Any) -> None:
            load(module)
            _watch(module)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def _watch(entrance: Any) -> None:
    from tests.points import Path  # not on the path yet when this file is run

    hub, _, point = os.environ["DIES_AT"].partition(":")

    def reached(name: str) -> None:
        if name == point:
            os.kill(os.getpid(), signal.SIGKILL)

    path = Path(reached)

    def watched(use_case: Any) -> Any:
        async def run(ports: Any, message: Any) -> Any:
            if message.hub_id.name != hub:
                return await use_case(ports, message)
            path.begin()
            return await use_case(path.watched(ports), message)

        return run

    entrance.remediate, entrance.verify = watched(entrance.remediate), watched(entrance.verify)


if "DIES_AT" in os.environ:
    sys.meta_path.insert(0, _Composed())
