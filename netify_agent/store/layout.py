"""Names of the keys and fields in Redis, and the schema version. See docs/store.md.

All keys of a gateway share one hash tag, so that a flush can be one transaction on a Redis Cluster.
"""

from __future__ import annotations

SCHEMA = 4

#: Field names of a row's counters, in the order of :meth:`netify_agent.accounting.batch.Row.counts`.
COUNTERS = ("bu", "bd", "pu", "pd", "fl")
#: The same with the bytes up and down of flows between two devices, which are part of ``bu`` and ``bd``.
ALL_COUNTERS = (*COUNTERS, "lu", "ld")
#: Field names of an open history bucket: of its total, and of an application.
VOLUME_CODES = ("bu", "bd", "pu", "pd", "lu", "ld")
SHARE_CODES = ("bu", "bd", "lu", "ld")
#: The names of ``COUNTERS`` in responses of the API.
COUNTER_NAMES = {
    "bu": "bytes_up",
    "bd": "bytes_down",
    "pu": "packets_up",
    "pd": "packets_down",
    "fl": "flows",
}
FIRST_SEEN, LAST_SEEN = "fs", "ls"  # netifyd's clock, milliseconds since the epoch
GATEWAY = ""  # stands for the gateway in place of a device's name
#: Series of history besides the gateway and its devices: devices that were dropped; what belongs to no
#: device; what counts at two devices. Another one for each interface, of what the gateway moved there.
FORGOTTEN, UNATTRIBUTED, MIRRORED = "forgotten", "unattributed", "mirrored"
INTERFACE = "interface:"  # before the name of an interface
OPEN = 0  # stands for open buckets in place of a step

Unit = tuple[int, int]  #: a step and the start of a chunk of it; :data:`OPEN` and the start of a bucket


def prefix(gateway: str) -> str:
    """Return what all keys of a gateway begin with. The name in braces is their hash tag."""
    return f"netify:{{{gateway}}}:"


class Keys:
    """The keys of one gateway.

    :ivar meta: hash: schema, number and time of the last flush, the writer's lease, state of each source.
    :ivar devices: sorted set: device by arrival of its latest record, agent's clock, ms since the epoch.
    :ivar flows: hash: flow id (digest and source) to the state of a live flow.
    :ivar ended: hash: flow id to the last state of a flow that ended.
    :ivar ends: sorted set: the same ids by the time of the flush that ended them, ms since the epoch.
    :ivar details: hash: flow id to the description of the flow, live or ended.
    :ivar scores: set: the risk scores that have an index.
    :ivar rates: hash, replaced by each flush: device to its rates, bit/s.
    :ivar unattributed: hash: counters of flows that belong to no device.
    :ivar mirrored: hash: counters of local-to-local flows, which count at two devices.
    :ivar left_out: hash: counters of flows captured at interfaces that do not count.
    :ivar forgotten: hash: counters of devices that were dropped after a long time without traffic.
    :ivar forget: sorted set: device that is to be forgotten by the deadline of the request, Redis' clock, ms.
    :ivar counters: hash: the accounting's own counters, by name.
    :ivar categories: hash: application to netifyd's category id.
    :ivar history: hash: which parts of packed history are due, since when each step is complete, and how many
        numbers applications have.
    :ivar history_applications: hash: application to its number in packed history.
    :ivar history_series: set: the series that are neither the gateway's nor a device's.
    :ivar unmigrated: set: devices, and the gateway, whose history is still in the form of schema 3.
    :ivar alerts: hash: id to an alert, firing or resolved.
    :ivar alert_state: hash: what the rules of alerts remember, by rule and subject.
    :ivar alert_outbox: hash: notifications that were not delivered yet, by receiver, alert and status.
    :ivar plans: hash: which thresholds of plans are passed, by plan, threshold and whom.
    :ivar copy: hash, at a collector only: the position of the copy, and when it was received.
    :ivar copy_settings: hash, at a collector only: the settings of the gateway that its answers depend on.
    :ivar copy_names: hash, at a collector only: device to its name, groups and vendor.
    :ivar copy_plans: hash, at a collector only: plan to its period and who passed its thresholds.
    :ivar copy_used: hash, at a collector only: plan and whom to the bytes that were used.
    :ivar copy_items: hash, at a collector only: item of the copy to its digest.
    :ivar lasting: a store in use has at least one of these keys besides ``meta``.
    """

    def __init__(self, gateway: str) -> None:
        """``gateway`` must not contain braces, because it is the hash tag."""
        self._prefix = prefix(gateway)
        self.meta = self._prefix + "meta"
        self.devices = self._prefix + "devices"
        self.flows = self._prefix + "flows"
        self.ended = self._prefix + "flows:ended"
        self.ends = self._prefix + "flows:ends"
        self.details = self._prefix + "flows:details"
        self.scores = self._prefix + "flows:scores"
        self.rates = self._prefix + "rates"
        self.unattributed = self._prefix + "unattributed"
        self.mirrored = self._prefix + "mirrored"
        self.forgotten = self._prefix + "forgotten"
        self.forget = self._prefix + "forget"
        self.left_out = self._prefix + "left-out"
        self.counters = self._prefix + "counters"
        self.categories = self._prefix + "categories"
        self.history = self._prefix + "history"
        self.history_applications = self._prefix + "history:applications"
        self.history_series = self._prefix + "history:series"
        self.unmigrated = self._prefix + "history:unmigrated"
        self.alerts = self._prefix + "alerts"
        self.alert_state = self._prefix + "alerts:state"
        self.alert_outbox = self._prefix + "alerts:outbox"
        self.plans = self._prefix + "plans"
        self.copy = self._prefix + "copy"
        self.copy_settings = self._prefix + "copy:settings"
        self.copy_names = self._prefix + "copy:names"
        self.copy_plans = self._prefix + "copy:plans"
        self.copy_used = self._prefix + "copy:used"
        self.copy_items = self._prefix + "copy:items"
        self.lasting = (
            *(self.devices, self.flows, self.counters, self.unattributed, self.rates),
            *(self.totals(GATEWAY), self.applications(GATEWAY), self.protocols(GATEWAY)),
        )

    def totals(self, device: str) -> str:
        """Hash: identity and counters of a device, or of the gateway."""
        return f"{self._prefix}device:{device}" if device else self._prefix + "gateway"

    def applications(self, device: str) -> str:
        """Hash: counters of its applications, fields ``code:application``."""
        return self.totals(device) + ":applications"

    def protocols(self, device: str) -> str:
        """Hash: counters of its protocols, fields ``code:protocol``."""
        return self.totals(device) + ":protocols"

    def addresses(self, device: str) -> str:
        """Sorted set: IP addresses of a device by netifyd's clock, milliseconds since the epoch."""
        return self.totals(device) + ":addresses"

    def users(self, application: str) -> str:
        """Sorted set: devices that use an application, by bytes up and down."""
        return f"{self._prefix}users:{application}"

    def index(self, live: bool, of: str = "") -> str:
        """Sorted set: flows, live or ended, by the time of their last packet (netifyd's clock, 0 unknown).

        :param of: empty for all flows; else the result of one of the three methods below.
        """
        return f"{self._prefix}index:{'live' if live else 'ended'}{of}"

    def of_device(self, device: str) -> str:
        """Suffix for flows with the device on either side."""
        return f":device:{device}"

    def of_application(self, application: str) -> str:
        """Suffix for flows of the application."""
        return f":application:{application}"

    def of_score(self, score: int) -> str:
        """Suffix for flows with exactly this risk score."""
        return f":risk:{score}"

    def protocol_users(self, protocol: str) -> str:
        """Sorted set: devices that use a protocol, by bytes up and down."""
        return f"{self._prefix}protocol-users:{protocol}"

    def open_bucket(self, start: int, series: str) -> str:
        """Hash: counters of the shortest step from ``start`` (epoch seconds): ``bu``, ``bu:application``."""
        return f"{self._prefix}history:open:{start}:{series}"

    def chunk(self, unit: Unit, series: str) -> str:
        """String: packed records of a step; see :mod:`netify_agent.store.history_record`."""
        step, start = unit
        return f"{self._prefix}history:chunk:{step}:{start}:{series}"

    def chunks(self, step: int) -> str:
        """Sorted set: starts of the chunks that some series may have, by themselves."""
        return f"{self._prefix}history:chunks:{step}"

    def due(self, unit: Unit) -> str:
        """Set: series with an open bucket, or with fresh records in a chunk."""
        step, start = unit
        return f"{self._prefix}history:due:{step or 'open'}:{start}"

    def old_bucket(self, step: int, start: int, device: str) -> str:
        """Hash of schema 1 to 3: counters of ``step`` seconds from ``start``, a multiple of it."""
        return f"{self._prefix}history:{step}:{start}:{device}"
