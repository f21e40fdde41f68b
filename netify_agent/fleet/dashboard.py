"""The dashboard at a collector: of the fleet at ``/ui/``, of each gateway at ``/gateways/<gateway>/ui/``.

They are the files that an agent serves. The page knows by a mark which of the three it is.
"""

from __future__ import annotations

from netify_agent.api.http.access import METHODS
from netify_agent.api.http.negotiation import quality
from netify_agent.api.http.problems import Problem
from netify_agent.api.http.route import VARY, Environ, Reply, Request, Route
from netify_agent.api.routes import dashboard

FLEET, GATEWAY = "collector", "copy"  #: marks of the page
_GATEWAYS = "/gateways/"


class Dashboard:
    """The files by their paths. They contain neither data nor secrets, and need no token."""

    def __init__(self) -> None:
        files = {route.path: route for route in dashboard.files()}
        self._routes: dict[str, dict[str, Route]] = {
            mark: {dashboard.ROOT: dashboard.route(mark), **files} for mark in (FLEET, GATEWAY)
        }

    def reply(self, environ: Environ) -> Reply | None:
        """The answer to a request; None if it asks for no file of the dashboard.

        It is the same for gateways that do not exist. A browser that asks for the path above is redirected.

        :raises Problem: 405.
        """
        mark, path = FLEET, environ["PATH_INFO"]
        if path.startswith(_GATEWAYS):
            _, slash, rest = path[len(_GATEWAYS) :].partition("/")
            mark, path = GATEWAY, slash + rest
        method, accept = environ["REQUEST_METHOD"], environ.get("HTTP_ACCEPT", "")
        if path == "/" and quality(accept, "text/html") > quality(accept, "application/json"):
            headers = {"Location": dashboard.FROM_TOP, "Vary": VARY, "Cache-Control": "no-cache"}
            return Reply(b"", 303, headers)
        route = self._routes[mark].get(path)
        if route is None:
            return None
        if method == "OPTIONS":
            return Reply(b"", 204, {"Allow": METHODS})
        if method not in ("GET", "HEAD"):
            raise Problem(405, f"only {METHODS} are allowed here", {"Allow": METHODS})
        answer = route.answer(Request({}, environ, route.media_type))
        assert isinstance(answer, Reply)
        return answer
