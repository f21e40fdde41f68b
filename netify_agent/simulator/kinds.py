"""The kinds of devices in homes and offices: vendors, names and activities of each.

Tables beside catalog.py, with the OUI prefixes taken from the IEEE registry so that a vendor look-up
answers as on a real network. They know nothing of addresses or of time.
"""

from __future__ import annotations

from typing import NamedTuple

from . import catalog as c
from .catalog import Service


class Kind(NamedTuple):
    """A kind of device: how it is named, how it announces itself, what it does and how often.

    `gap_s` is the mean time in seconds between two sessions, `habits` are services with a weight,
    `standing` is a connection it keeps open always, `private_mac` the share of such devices that use a
    randomised, locally administered MAC (IEEE 802-2014, 8.4: the second bit of the first octet).
    """

    name: str
    ouis: tuple[str, ...]
    names: tuple[str, ...]
    fingerprint: str
    class_ident: str
    mdns: str
    gap_s: float
    habits: tuple[tuple[float, Service], ...]
    standing: Service | None = None
    private_mac: float = 0.0
    ipv6: bool = False
    user_agent: str = "Mozilla/5.0"


_NTP = Service(c.UNKNOWN, c.NTP, (), c.LOOKUP)
_PING = Service(c.UNKNOWN, c.ICMP, (), c.PROBE)
_OTHER = Service(c.UNKNOWN, c.HTTPS, ("www.example.org", "shop{n}.example.com", "news.example.net"), c.PAGE)
_PLAIN = Service(c.UNKNOWN, c.HTTP, ("plain.example.com", "time{n}.example.net"), c.PAGE)
_BARE = Service(c.UNKNOWN, c.NONE, (), c.BURST)
_GOOGLE = Service(c.GOOGLE, c.QUIC, ("www.google.com", "ssl.gstatic.com"), c.PAGE)
_GMAIL = Service(c.GMAIL, c.HTTPS, ("imap.gmail.com", "mail.google.com"), c.PAGE, first_as=c.GOOGLE)
_YOUTUBE = Service(c.YOUTUBE, c.QUIC, ("rr{n}---sn-4g5e.googlevideo.com",), c.STREAM, first_as=c.GOOGLE)
_NETFLIX = Service(c.NETFLIX, c.HTTPS, ("ipv4-c{n}-ams001-ix.1.oca.nflxvideo.net",), c.STREAM, c.UNKNOWN)
_ZOOM = Service(c.ZOOM, c.RTP, (), c.CALL, first_as=c.UNKNOWN)
_ICLOUD = Service(c.ICLOUD, c.HTTPS, ("p{n}-content.icloud.com",), c.BURST, first_as=c.AKAMAI)
_OFFICE = Service(c.OFFICE, c.HTTPS, ("outlook.office365.com", "teams.microsoft.com"), c.PAGE)
_INSTAGRAM = Service(
    c.INSTAGRAM, c.QUIC, ("scontent-ams{n}-1.cdninstagram.com",), c.BURST, first_as=c.FACEBOOK
)
_DROPBOX = Service(c.DROPBOX, c.HTTPS, ("block.dropbox.com",), c.FILES)
_SMB = Service(c.UNKNOWN, c.SMB, (), c.FILES, peer="server")
_SSH = Service(c.UNKNOWN, c.SSH, (), c.SHELL, peer="server")
_PRINT = Service(c.UNKNOWN, c.IPP, (), c.PRINT, peer="printer")
_CAST = Service(c.UNKNOWN, c.TLS, (), c.PAGE, peer="tv")
_VIEW = Service(c.UNKNOWN, c.RTSP, (), c.CAMERA, peer="camera")
_GITHUB = Service(c.GITHUB, c.HTTPS, ("github.com", "codeload.github.com"), c.BURST)
_APPLE_PUSH = Service(c.ICLOUD, c.PUSH_TLS, ("{n}-courier.push.apple.com",), c.PUSH, first_as=c.UNKNOWN)
_SLACK = Service(c.SLACK, c.HTTPS, ("wss-primary.slack.com",), c.PUSH)

LAPTOP = Kind(
    "laptop",
    ("00:c5:85", "a8:7c:f8", "cc:96:e5", "b0:7b:25", "e4:60:17"),
    ("{who}-laptop", "{who}s-MacBook", "LT-{n:04d}"),
    "1,121,3,6,15,119,252,95,44,46",
    "MSFT 5.0",
    "_companion-link._tcp",
    30.0,
    (
        (9, _GOOGLE), (8, _OTHER), (5, _GMAIL), (4, _OFFICE), (3, _DROPBOX), (2, _GITHUB), (2, _PLAIN),
        (3, _YOUTUBE), (2, _ZOOM), (2, _NETFLIX), (2, _SMB), (1, _SSH), (1, _PRINT), (1, _NTP), (1, _BARE),
        (1, _PING),
        (1, Service(c.WINDOWS_UPDATE, c.HTTP, ("au.download.windowsupdate.com",), c.DOWNLOAD, c.AKAMAI)),
        (1, Service(c.UNKNOWN, c.OPENVPN, (), c.TUNNEL)),
    ),
    standing=_SLACK,
    ipv6=True,
    user_agent="Mozilla/5.0 (Windows NT 10.0; Win64; x64)",
)  # fmt: skip
PHONE = Kind(
    "phone",
    ("18:fa:b7", "8c:6a:3b", "5c:ac:3d"),
    ("{who}s-iPhone", "Galaxy-{who}", "Pixel-{n}"),
    "1,3,6,15,26,28,51,58,59,43",
    "android-dhcp-13",
    "_rdlink._tcp",
    33.0,
    (
        (8, _INSTAGRAM), (6, _GOOGLE), (5, _OTHER), (4, _GMAIL), (4, _ICLOUD), (2, _YOUTUBE), (2, _CAST),
        (1, _NTP), (5, Service(c.TIKTOK, c.HTTPS, ("v{n}-eu.tiktokcdn.com",), c.BURST, first_as=c.AKAMAI)),
        (3, Service(c.FACEBOOK, c.QUIC, ("edge-chat.facebook.com",), c.PAGE)),
        (2, Service(c.SPOTIFY, c.HTTPS, ("audio-fa.scdn.co",), c.MUSIC, first_as=c.CLOUDFLARE)),
        (1, Service(c.PLAY, c.QUIC, ("play.googleapis.com",), c.DOWNLOAD, first_as=c.GOOGLE)),
        (1, Service(c.UNKNOWN, c.NONE, (), c.CALL)),
    ),
    standing=_APPLE_PUSH,
    private_mac=0.6,
    ipv6=True,
    user_agent="Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X)",
)  # fmt: skip
TV = Kind(
    "tv",
    ("e8:5b:5b", "dc:3a:5e", "ac:ae:19"),
    ("living-room-tv", "Roku-{n}", "LGwebOSTV-{n}"),
    "1,3,6,12,15,28,42,120",
    "udhcp 1.25.0",
    "_googlecast._tcp",
    45.0,
    (
        (6, _NETFLIX), (5, _YOUTUBE), (2, _OTHER), (1, _NTP),
        (3, Service(c.DISNEY, c.HTTPS, ("vod-akc-eu.media.dssott.com",), c.STREAM, first_as=c.AKAMAI)),
        (1, Service(c.TWITCH, c.HTTPS, ("video-edge-{n}.ams.hls.ttvnw.net",), c.STREAM, first_as=c.UNKNOWN)),
        (3, Service(c.SAMSUNG_TV, c.HTTP, ("cdn.samsungcloudsolution.com",), c.PAGE)),
    ),
    ipv6=True,
    user_agent="Mozilla/5.0 (Web0S; Linux/SmartTV)",
)  # fmt: skip
CONSOLE = Kind(
    "console",
    ("5c:96:66", "84:e6:57", "5c:0c:e6", "f4:6a:d7"),
    ("PS5-{n}", "Xbox-{who}", "switch-{who}"),
    "1,3,15,6,28,51",
    "PS5",
    "",
    55.0,
    (
        (3, Service(c.PLAYSTATION, c.HTTPS, ("gs{n}.ww.prod.dl.playstation.net",), c.DOWNLOAD, c.AKAMAI)),
        (3, Service(c.XBOX, c.HTTPS, ("assets{n}.xboxlive.com",), c.PAGE)),
        (3, Service(c.ROBLOX, c.NONE, (), c.GAME, first_as=c.UNKNOWN)),
        (2, Service(c.EPIC, c.HTTPS, ("download.epicgames.com",), c.BURST, first_as=c.CLOUDFLARE)),
        (3, _OTHER), (1, _NTP), (1, _YOUTUBE), (1, _PING),
    ),
)  # fmt: skip
SPEAKER = Kind(
    "speaker",
    ("1c:93:c4", "68:b6:91", "48:a6:b8"),
    ("echo-{n}", "Sonos-{n}"),
    "1,3,6,12,15,28,42",
    "dhcpcd-6.8.2:Linux",
    "_spotify-connect._tcp",
    65.0,
    (
        (3, Service(c.ALEXA, c.HTTPS, ("bob-dispatch-prod-eu.amazon.com",), c.PAGE)),
        (1, Service(c.SPOTIFY, c.HTTPS, ("audio-ak.spotify.com",), c.MUSIC, first_as=c.AKAMAI)),
        (1, _NTP),
    ),
    standing=Service(c.ALEXA, c.HTTPS, ("avs-alexa-eu.amazon.com",), c.PUSH, first_as=c.UNKNOWN),
)
CAMERA = Kind(
    "camera",
    ("b8:a4:4f", "ac:cc:8e", "44:a6:42"),
    ("cam-{n}", "axis-door-{n}"),
    "1,28,2,3,15,6,12",
    "udhcp 1.31.1",
    "_axis-video._tcp",
    120.0,
    ((3, _NTP), (2, Service(c.UNKNOWN, c.HTTPS, ("connect.cam.example.com",), c.PAGE)), (1, _BARE)),
    standing=Service(c.UNKNOWN, c.TLS, ("video.cam.example.com",), c.CAMERA),
)
PRINTER = Kind(
    "printer",
    ("3c:2a:f4", "30:05:5c", "38:ca:84"),
    ("BRN{n:06X}", "HP{n:06X}"),
    "6,3,1,15,66,67,13,44,12",
    "",
    "_ipp._tcp",
    170.0,
    ((2, _NTP), (1, Service(c.UNKNOWN, c.HTTPS, ("ink.printer.example.com",), c.PAGE))),
)
SERVER = Kind(
    "server",
    ("00:11:32", "90:09:d0", "ac:1f:6b", "dc:a6:32"),
    ("nas-{n}", "srv-{n:02d}", "homeserver"),
    "1,28,2,3,15,6,119,12,44,47,26,121,42",
    "",
    "_smb._tcp",
    36.0,
    (
        (4, Service(c.UBUNTU, c.HTTP, ("motd.ubuntu.com", "api.snapcraft.io"), c.BURST)),
        (2, Service(c.DOCKER, c.HTTPS, ("registry-1.docker.io",), c.DOWNLOAD, first_as=c.CLOUDFLARE)),
        (3, Service(c.UNKNOWN, c.SSH, (), c.SHELL, inbound=True)),
        (4, Service(c.UNKNOWN, c.HTTPS, ("backup.example.net",), c.FILES)),
        (2, _VIEW), (2, _GITHUB), (2, _NTP), (1, _PING),
    ),
    ipv6=True,
    user_agent="Debian APT-HTTP/1.3 (2.4.11)",
)  # fmt: skip
IOT = Kind(
    "iot",
    ("c8:f0:9e", "dc:54:75", "ec:b5:fa"),
    ("ESP-{n:06X}", "hue-bridge-{n}", "plug-{n}"),
    "1,3,28,6",
    "",
    "_hap._tcp",
    100.0,
    ((2, _NTP), (2, Service(c.PHILIPS, c.HTTPS, ("discovery.meethue.com",), c.PAGE)), (1, _PLAIN)),
    standing=Service(c.UNKNOWN, c.MQTTS, ("mqtt.iot.example.com",), c.PUSH),
    user_agent="ESP8266HTTPClient",
)
GATEWAY = Kind("gateway", ("74:ac:b9",), ("gateway",), "", "", "", 0, ())

# Kinds of a site's devices in order; the pattern repeats.
PROFILES: dict[str, tuple[Kind, ...]] = {
    "home": (PHONE, LAPTOP, TV, SERVER, PRINTER, PHONE, IOT, CONSOLE, CAMERA, SPEAKER, LAPTOP, PHONE),
    "office": (
        LAPTOP, SERVER, PHONE, PRINTER, LAPTOP, PHONE, CAMERA, LAPTOP, LAPTOP, IOT, LAPTOP, PHONE,
        LAPTOP, LAPTOP, SERVER, TV, LAPTOP, PHONE, LAPTOP, LAPTOP,
    ),
}  # fmt: skip
