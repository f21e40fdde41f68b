"""All routes of a collector that are made of several gateways, and their OpenAPI document."""

from __future__ import annotations

from netify_agent.api.http.route import Route
from netify_agent.api.spec import openapi
from netify_agent.enrich import Directory
from netify_agent.fleet import fleet_alerts, fleet_history, fleet_metrics, fleet_usage, gateway_list
from netify_agent.fleet.copies import Copies
from netify_agent.fleet.fleet_events import FleetEvents
from netify_agent.fleet.fleet_sums import FleetSums
from netify_agent.fleet.overview import View

_ABOUT = openapi.About(
    "netify-agent collector",
    "The traffic of a fleet of gateways. `/gateways/{gateway}/...` are the resources of a single agent. "
    "Counters are exact; bytes are whole captured frames, rates are bits per second.",
    "The token of a reader. It shows the gateways that match its patterns; others do not exist for it.",
    needs_token=True,
)


class FleetRoutes:
    """Makes the routes of readers."""

    def __init__(self, copies: Copies, directory: Directory, events: FleetEvents) -> None:
        self._events = events
        self._copies = copies
        self._sums = FleetSums(copies)
        self._directory = directory

    def of(self, view: View) -> list[Route]:
        """The routes of readers with one view."""
        routes = [
            gateway_list.route(view, self._directory),
            fleet_usage.route(view, self._sums),
            fleet_history.route(view, self._sums),
            fleet_alerts.route(view),
            fleet_metrics.route(view),
            self._events.route(view),
        ]
        return [*routes, openapi.route(routes, _ABOUT, self._copies.declared())]
