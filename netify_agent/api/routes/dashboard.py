"""``/ui/``: the dashboard's files. They are read once, at the start; no path can name another file.

The files contain neither data nor secrets and are served without a token. The data that the dashboard shows
comes from the API.
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
#: No inline scripts or styles, nothing from other origins, no framing. Besides those of every answer.
SECURITY = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
}


def file_names() -> list[str]:
    """The files apart from the page itself, relative to :data:`DIRECTORY`."""
    paths = (path for path in DIRECTORY.rglob("*") if path.suffix in _TYPES)
    return sorted(path.relative_to(DIRECTORY).as_posix() for path in paths if path.name != "index.html")


def route(mark: str | None = None) -> Route:
    """The route of the dashboard's page.

    :param mark: what the page is of, if not of the agent that serves it.
    """
    page = (DIRECTORY / "index.html").read_bytes()
    if mark is not None:
        page = page.replace(b"<html ", f'<html data-at="{mark}" '.encode(), 1)
    return _route(ROOT, "dashboard", "The dashboard.", page, _TYPES[".html"])


def files() -> list[Route]:
    """The routes of the page's scripts, styles and icon, and a redirect for its path without the slash."""
    files = [
        _route(
            *(ROOT + name, f"dashboard {name}", "A file of the dashboard."),
            *((DIRECTORY / name).read_bytes(), _TYPES[Path(name).suffix]),
        )
        for name in file_names()
    ]
    return [
        *files,
        Route(
            ROOT.rstrip("/"),
            "dashboard path",
            "Redirect to ui/.",
            _redirect,
            media_type="text/html",
            public=True,
        ),
    ]


def _redirect(request: Request) -> Reply:
    return Reply(b"", 308, {"Location": FROM_TOP})


def _route(path: str, name: str, summary: str, content: bytes, media_type: str) -> Route:
    return Route(
        path, name, summary, _answer(content, media_type), media_type=media_type, lasting=True, public=True
    )


def _answer(content: bytes, media_type: str) -> Callable[[Request], Reply]:
    encoded = Encoded.of_content(content, media_type)  # each file declares its own charset

    def answer(request: Request) -> Reply:
        reply = encoded.reply(request.environ)
        reply.headers.update(SECURITY)
        return reply

    return answer
