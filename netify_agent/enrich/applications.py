"""Display names of applications and names of their categories.

netifyd sends tags (`netify.google-ads`) and category ids (3). The names of the categories are read from
netifyd's own file, so that they follow its updates.
"""

from __future__ import annotations

import functools
import logging
from typing import Any

from netify_agent.enrich.files import Stamp, read_json, stamp

log = logging.getLogger(__name__)

_PREFIX = "netify."

#: Application categories of netifyd 4.4.5, as found in its stream; used if its own file is not readable.
BUILT_IN_CATEGORIES = {3: "advertiser", 12: "games", 24: "social-media", 29: "streaming-media", 35: "cdn"}

#: Tags whose name cannot be derived from their words.
_NAMES = {
    "casalemedia": "Casale Media",
    "disney-plus": "Disney+",
    "f-secure": "F-Secure",
    "gsuite": "G Suite",
    "lets-encrypt": "Let's Encrypt",
    "stackexchange": "Stack Exchange",
    "visualstudio": "Visual Studio",
}

#: Words that are not written with an initial capital.
_SPELLINGS = (
    "AccuWeather AliExpress AOL AppNexus AWS BBC BitTorrent ByteDance CDN CloudFront CNN ConnectWise "
    "CrowdStrike DAZN DHCP DigiCert DNS DocuSign DoubleVerify EA eBay ESPN FaceTime FIFA GitHub GitLab "
    "GoDaddy GoTo HBO HSBC HTTP iCloud ID IMDb iMessage InMobi iOS IP iTunes LendingTree LinkedIn macOS "
    "McAfee MIUI MLB MSN NBA NBC NFL NHL NIST NTP OneDrive OpenAI OpenDNS OpenVPN OpenWrt PayPal "
    "PlayStation PubNub QQ SharePoint ShareThis SiriusXM SoftEther SoundCloud SSH STUN TeamViewer TikTok "
    "TLS TV USA VK VPN WeChat WhatsApp WireGuard WordPress YouTube and of"
)
_WORDS = {word.lower(): word for word in _SPELLINGS.split()}


@functools.lru_cache(maxsize=1024)
def display_name(tag: str) -> str:
    """Return the display name of an application: Google Ads for `netify.google-ads`.

    A tag without netifyd's prefix (`Unknown`, a custom application) is returned unchanged.
    """
    key = tag[len(_PREFIX) :]
    if not key or not tag.startswith(_PREFIX):
        return tag
    if key in _NAMES:
        return _NAMES[key]
    words = (word for word in key.split("-") if word)
    return " ".join(_WORDS.get(word, word[:1].upper() + word[1:]) for word in words) or tag


class Categories:
    """Names of application categories, from netifyd's netify-categories.json (4.4.5: in /etc/netify.d).

    One thread may call `refresh` while others call `category_name`.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._stamp: Stamp | None = None
        self._names = BUILT_IN_CATEGORIES
        self.refresh()

    def refresh(self) -> bool:
        """Read the file again if it changed.

        If it is missing or malformed, the built-in table is used.

        :returns: whether a name changed.
        """
        now = stamp(self._path)
        if now == self._stamp:
            return False
        self._stamp = now
        before, self._names = self._names, self._read() if now else BUILT_IN_CATEGORIES
        return before != self._names

    def category_name(self, category_id: int) -> str | None:
        """Return the name of an application category (`streaming-media`), None for 0 and unknown ids."""
        return self._names.get(category_id)

    def _read(self) -> dict[int, str]:
        try:
            with open(self._path, "rb") as file:
                return _names_by_id(read_json(file)) or BUILT_IN_CATEGORIES
        except (OSError, ValueError) as error:
            log.warning("cannot read categories from %s: %s; using the built-in ones", self._path, error)
            return BUILT_IN_CATEGORIES


def _names_by_id(content: Any) -> dict[int, str]:
    if not isinstance(content, dict):
        return {}
    tags = content.get("application_tag_index")
    if isinstance(tags, dict):
        return {number: tag for tag, number in tags.items() if type(number) is int and number > 0 and tag}
    index = content.get("application_index")
    if isinstance(index, dict):
        # The older form has no ids. netifyd numbers the categories from 1 in alphabetical order
        # (ndCategories::LoadLegacy in netifyd 4.4 and 5).
        members = sorted(tag for tag, apps in index.items() if isinstance(apps, list))
        return dict(enumerate(members, start=1))
    return {}
