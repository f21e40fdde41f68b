"""Worker: the agent's web server with an application that only has bytes: what the API is held against.

`python reference.py PORT BODY`: `/` is the file BODY, `/empty` an empty 200.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from netify_agent.api.http.server import WebServer
from netify_agent.config.settings import Endpoint, WebSettings


def main() -> None:
    port, path = sys.argv[1:]
    body = Path(path).read_bytes()
    headers = [
        ("Content-Type", "application/json"),
        ("Cache-Control", "no-cache"),
        ("ETag", '"0123456789abcdef01234567"'),
    ]

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        data = body if environ["PATH_INFO"] == "/" else b""
        start_response("200 OK", [*headers, ("Content-Length", str(len(data)))])
        return [data]

    server = WebServer(
        answer, replace(WebSettings(), listen=Endpoint("tcp", host="127.0.0.1", port=int(port)))
    )
    stop = threading.Event()
    threading.Thread(target=server.run, args=[stop, lambda: None]).start()
    print("{}", flush=True)
    sys.stdin.read()
    stop.set()


if __name__ == "__main__":
    main()
