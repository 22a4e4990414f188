"""Processes of their own, so that one's time and memory is not another's: a job in, one line of JSON out."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import sys

from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final


_ROOT: Final = Path(__file__).parents[2]
_PATIENCE: Final = 600
_START: Final = 60
_TROUBLE: Final = "trouble"


class BenchError(RuntimeError):
    """Something that is to be measured did not work; the message says what."""


async def result_of(*command: str, job: Any = None, env: Mapping[str, str] | None = None) -> Any:
    """Run a Python process with a job on its stdin; the last line of its stdout, as JSON."""
    process = await _start(*command, env=env or {})
    try:
        async with asyncio.timeout(_PATIENCE):
            told, errors = await process.communicate(json.dumps(job).encode())
    except BaseException:
        await _end(process)
        raise
    if process.returncode != 0:
        raise BenchError(f"{' '.join(command)[:200]} ended with {process.returncode}:\n{errors.decode()[-3000:]}")
    result = json.loads(told.splitlines()[-1])
    if isinstance(result, dict) and _TROUBLE in result:
        raise BenchError(result[_TROUBLE])
    return result


@contextlib.asynccontextmanager
async def server(*command: str) -> AsyncIterator[dict[str, Any]]:
    """Run a Python process that says on one line when it is ready, and end it at the end; what it said."""
    process = await _start(*command, "--parent-pid", str(os.getpid()), env={})
    try:
        assert process.stdout is not None
        async with asyncio.timeout(_START):
            line = await process.stdout.readline()
        if not line:
            raise BenchError(f"{' '.join(command)[:200]} did not start")
        yield json.loads(line)
    finally:
        await _end(process)


def answer(work: Callable[[Any], Awaitable[Any]]) -> None:
    """The other side of ``result_of``: do the job that stands on stdin, and say what it came to."""
    try:
        result = asyncio.run(_awaited(work, json.load(sys.stdin)))
    except BenchError as error:
        result = {_TROUBLE: str(error)}
    print(json.dumps(result))


def peak_megabytes() -> float:
    """The most memory that this process ever held. getrusage would count what its parent held at the fork too."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024 / 1e6


async def _awaited(work: Callable[[Any], Awaitable[Any]], job: Any) -> Any:
    return await work(job)


async def _start(*command: str, env: Mapping[str, str]) -> Process:
    own = {name: value for name, value in os.environ.items() if not name.startswith(("AZURE_", "HUBWARDEN_"))}
    return await asyncio.create_subprocess_exec(
        *(sys.executable, *command), cwd=_ROOT, env={**own, **env}, stdin=PIPE, stdout=PIPE, stderr=PIPE
    )


async def _end(process: Process) -> None:
    if process.returncode is None:
        process.terminate()
        try:
            async with asyncio.timeout(5):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
