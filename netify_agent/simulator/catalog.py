"""The traffic that simulated devices can produce: applications, protocols, shapes of traffic, services.

Plain tables, kept apart so that a reader can add an application without touching any logic. They know
nothing of devices, of time or of the wire.
"""

from __future__ import annotations

from typing import NamedTuple


class Application(NamedTuple):
    """An application as `definitions` names it; ids and categories as in netifyd 4.4.5."""

    id: int
    tag: str
    category: int = 0


class Protocol(NamedTuple):
    """A protocol as `definitions` names it, its category, IP protocol number and usual port."""

    id: int
    name: str
    category: int
    ip_protocol: int
    port: int


class Shape(NamedTuple):
    """How a flow moves bytes, seen from the side that opened it.

    Lengths in seconds, rates in packets per second while active, sizes in bytes of a whole frame,
    `duty` the share of 15 s intervals that carry anything, `opening` the packets each way at the start.
    `long` flows keep a device busy: it has one of them at a time.
    """

    shortest_s: float
    longest_s: float
    up_rate: float
    down_rate: float
    up_size: int
    down_size: int
    duty: float = 1.0
    opening: tuple[int, int] = (6, 5)
    long: bool = False


class Service(NamedTuple):
    """Something a device uses: an application over a protocol with host names and a shape.

    `first_as` is what detection takes it for before a refinement; `peer` the kind of device that offers it
    on the local network (None: a remote host); `inbound` is true when the remote side opens the flow.
    """

    application: Application
    protocol: Protocol
    hosts: tuple[str, ...]
    shape: Shape
    first_as: Application | None = None
    peer: str | None = None
    inbound: bool = False


LOOKUP = Shape(0.02, 0.2, 0, 0, 82, 190, opening=(1, 1))
PROBE = Shape(0.1, 2, 0, 0, 98, 98, opening=(3, 3))
ANNOUNCE = Shape(0.0, 1.0, 0, 0, 180, 60, opening=(2, 0))
PAGE = Shape(0.4, 20, 14, 26, 140, 1120)
BURST = Shape(4, 60, 60, 160, 120, 1380, duty=0.8)
STREAM = Shape(600, 3600, 38, 95, 78, 1440, duty=0.6, long=True)
MUSIC = Shape(120, 1800, 4, 18, 90, 1380, duty=0.4, long=True)
DOWNLOAD = Shape(45, 900, 420, 1050, 66, 1494, long=True)
CALL = Shape(240, 2700, 52, 55, 940, 1030, opening=(4, 4), long=True)
GAME = Shape(600, 5400, 30, 42, 120, 260, opening=(4, 4), long=True)
CAMERA = Shape(1800, 7200, 110, 36, 1390, 66, long=True)
SHELL = Shape(60, 1800, 3, 4, 110, 180, duty=0.5, opening=(14, 12))
FILES = Shape(5, 240, 300, 260, 900, 1100, duty=0.7)
PRINT = Shape(2, 20, 90, 25, 1380, 70)
PUSH = Shape(1200, 10800, 0.12, 0.12, 120, 140, duty=0.3, opening=(9, 8))
TUNNEL = Shape(600, 7200, 25, 40, 420, 980, duty=0.9, opening=(3, 3), long=True)

UNKNOWN = Application(0, "Unknown")
NETFLIX = Application(133, "netify.netflix", 29)
YOUTUBE = Application(124, "netify.youtube", 29)
DISNEY = Application(10417, "netify.disney-plus", 29)
SPOTIFY = Application(156, "netify.spotify", 29)
TWITCH = Application(195, "netify.twitch", 29)
FACEBOOK = Application(119, "netify.facebook", 24)
INSTAGRAM = Application(201, "netify.instagram", 24)
TIKTOK = Application(10302, "netify.tiktok", 24)
ROBLOX = Application(10039, "netify.roblox", 12)
PLAYSTATION = Application(10020, "netify.playstation", 12)
XBOX = Application(10234, "netify.xbox", 12)
EPIC = Application(10201, "netify.epic-games", 12)
ADS = Application(10041, "netify.google-ads", 3)
AKAMAI = Application(10011, "netify.akamai", 35)
CLOUDFLARE = Application(206, "netify.cloudflare", 35)
GOOGLE = Application(126, "netify.google")
ZOOM = Application(10669, "netify.zoom")
GMAIL = Application(122, "netify.gmail")
ICLOUD = Application(143, "netify.apple-icloud")
OFFICE = Application(205, "netify.office-365")
SLACK = Application(10227, "netify.slack")
GITHUB = Application(10002, "netify.github")
DROPBOX = Application(121, "netify.dropbox")
UBUNTU = Application(10256, "netify.ubuntu")
DOCKER = Application(10203, "netify.docker")
WINDOWS_UPDATE = Application(147, "netify.windows-update")
ALEXA = Application(10472, "netify.amazon-alexa")
PHILIPS = Application(10369, "netify.philips")
SAMSUNG_TV = Application(10818, "netify.samsung-tv")
PLAY = Application(10909, "netify.google-play")

HTTPS = Protocol(196, "HTTP/S", 22, 6, 443)
QUIC = Protocol(188, "QUIC", 22, 17, 443)
HTTP = Protocol(7, "HTTP", 22, 6, 80)
TLS = Protocol(91, "TLS", 9, 6, 443)
DNS = Protocol(5, "DNS", 14, 17, 53)
NTP = Protocol(9, "NTP", 14, 17, 123)
MDNS = Protocol(8, "MDNS", 14, 17, 5353)
DHCP = Protocol(18, "DHCP", 14, 17, 67)
SSDP = Protocol(12, "SSDP", 14, 17, 1900)
SSH = Protocol(92, "SSH", 9, 6, 22)
SMB = Protocol(41, "SMBv23", 10, 6, 445)
IPP = Protocol(6, "IPP", 18, 6, 631)
RTSP = Protocol(50, "RTSP", 12, 6, 554)
RTP = Protocol(87, "RTP", 12, 17, 8801)
MQTTS = Protocol(258, "MQTT/S", 9, 6, 8883)
PUSH_TLS = Protocol(238, "Apple/Push", 9, 6, 5223)
OPENVPN = Protocol(159, "OpenVPN", 0, 17, 1194)
ICMP = Protocol(81, "ICMP", 0, 1, 0)
IGMP = Protocol(82, "IGMP", 14, 2, 0)
NONE = Protocol(0, "Unknown", 0, 17, 3478)

APPLICATIONS: tuple[Application, ...] = tuple(
    value for name, value in sorted(globals().items()) if isinstance(value, Application)
)
PROTOCOLS: tuple[Protocol, ...] = tuple(
    value for name, value in sorted(globals().items()) if isinstance(value, Protocol)
)

LOCAL_DNS = Service(UNKNOWN, DNS, (), LOOKUP, peer="gateway")

# Occasionally opened in addition to a page, as browsers do.
COMPANIONS: tuple[Service, ...] = (
    Service(ADS, HTTPS, ("pagead2.googlesyndication.com", "ad{n}.doubleclick.net"), PAGE, first_as=GOOGLE),
    Service(AKAMAI, HTTPS, ("a{n}.dscg.akamai.net",), PAGE),
    Service(CLOUDFLARE, QUIC, ("cdnjs.cloudflare.com",), PAGE),
    Service(GOOGLE, QUIC, ("fonts.gstatic.com", "www.google.com"), PAGE),
)

# Hostile text from the network: it must not do harm where it is stored or displayed.
HOSTILE: tuple[str, ...] = (
    '"quoted\\".example\'; DROP TABLE devices; --',
    "<script>alert('host')</script>.example",
    "bell\x07escape\x1b[31mred\x00nul.example",
    '{"length": 7}\n{"type":"flow_purge"}',
    "right\u202eelpmaxe.to.left",
    "*\r\n$4\r\nPING\r\n",
    "../../../etc/hosts?%00${jndi:ldap://a}{{7*7}}",
    "long-" + "a" * 6000 + ".example",
    "netify:{other}:\u2028devices",
    "\ufffd\ufeff\U0001f4a9.example",
)
