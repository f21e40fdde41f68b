"""Load comes from processes of its own, so that it never shares an interpreter with what is measured.

A worker takes a JSON object a line on its standard input and answers each with one line. The other half of
each worker is the module that is run; this is the runner's end of the pipe and the loop of the worker's.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
#: Where `make bench` puts packages that the agent can use but does not need.
OPTIONAL = ROOT / ".venv" / "bench"


class Worker:
    """A module of this folder, running."""

    def __init__(self, module: str, *arguments: str, optional: bool = False) -> None:
        """``optional``: with the packages that the agent can do without."""
        path = [ROOT, HERE.parent, *([OPTIONAL] if optional else [])]
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / f"{module}.py"), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": ":".join(map(str, path))},
        )

    def ask(self, **request: Any) -> Any:
        """Send one request and wait for its answer."""
        self.begin(**request)
        return self.answer()

    def begin(self, **request: Any) -> None:
        """Send one request; :meth:`answer` is to be called later."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()

    def answer(self) -> Any:
        """The answer to the earliest request that has not been answered."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._process.args!r} ended with {self._process.wait()}")
        return json.loads(line)

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)


def obey(does: dict[str, Callable[..., Any]]) -> None:
    """The loop of a worker: each request names under ``do`` which of ``does`` is called with the rest."""
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(does[request.pop("do")](**request)), flush=True)
