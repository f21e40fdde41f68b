"""The dashboard's files below ``/ui/``: a fixed set, read once. A path can name no other file.

They hold no data and no secret, so they need no token. What they show comes from the API.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from netify_agent.api.http.response_cache import Encoded
from netify_agent.api.http.route import Reply, Request, Route

ROOT = "/ui/"
FROM_TOP = "ui/"  # the same, relative to a path at the top level: a proxy may add a prefix
DIRECTORY = Path(__file__).parents[2] / "ui"

_TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
#: No inline script or style, nothing from elsewhere, no frame around it; no address of it leaves it.
SECURITY = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def route() -> Route:
    """The route of the dashboard itself."""
    return _route(ROOT, "dashboard", "The dashboard, for people.", DIRECTORY / "index.html")


def files() -> list[Route]:
    """The routes of what the dashboard is made of, and of its path without the slash."""
    found = [
        _route(ROOT + path.name, f"dashboard {path.name}", "A file of the dashboard.", path)
        for path in sorted(DIRECTORY.iterdir())
        if path.suffix in _TYPES and path.name != "index.html"
    ]
    return [
        *found,
        Route(
            ROOT.rstrip("/"),
            "dashboard path",
            "To the dashboard.",
            _to_root,
            media_type="text/html",
            public=True,
        ),
    ]


def _to_root(request: Request) -> Reply:
    return Reply(b"", 308, {"Location": FROM_TOP})


def _route(path: str, name: str, summary: str, file: Path) -> Route:
    kind = _TYPES[file.suffix]
    return Route(path, name, summary, _answer(file, kind), media_type=kind, lasting=True, public=True)


def _answer(file: Path, kind: str) -> Callable[[Request], Reply]:
    encoded = Encoded.of_content(file.read_bytes(), kind)  # each file declares UTF-8 itself

    def answer(request: Request) -> Reply:
        reply = encoded.reply(request.environ)
        reply.headers.update(SECURITY)
        return reply

    return answer
