"""Descriptions of netifyd's flow risks for the owner of a gateway.

netifyd has its own numbers for risks (``nd_risk_id_t`` in nd-risks.h of netifyd 4, ``ndRisk::Id`` in
nd-risks.hpp of netifyd 5, which appends to the same list) and translates nDPI's ``ndpi_risk_enum`` to them.
Records of netifyd 4.4.5 confirm this: 10 occurs only with HTTP hosts that are IP addresses, 4 with VNC and
TeamViewer, 25 with SSH, 36 with TLS 1.0. In nDPI's numbering these numbers mean a certificate for another
name, a binary download, suspicious HTTP content and a clear-text password.
"""

from __future__ import annotations

_NAMES = {
    1: "Other side hides behind an anonymising service",
    2: "Program downloaded unprotected",
    3: "Password sent unprotected",
    4: "Remote desktop or file sharing",
    5: "DNS: message in fragments",
    6: "DNS: unusually large message",
    7: "DNS: unusual question or answer",
    8: "Other side answered with an error",
    9: "Crawler or bot",
    10: "Server called by its address, not by a name",
    11: "HTTP: content is not what it claims to be",
    12: "HTTP: unusual header",
    13: "HTTP: unusual URL",
    14: "HTTP: unusual client program",
    15: "Text with characters that do not belong there",
    16: "Well-known protocol on an unusual port",
    17: "Malformed packet",
    18: "TLS: client greets as malware does",
    19: "TLS: certificate known from malware",
    20: "Looks like the use of a security hole",
    21: "Host name in letters that can pass for others",
    22: "Network of bad repute",
    23: "Host name of bad repute",
    24: "SMB: version without protection",
    25: "SSH: client is outdated",
    26: "SSH: server is outdated",
    27: "Host name looks made up by a program",
    28: "Content looks scrambled where it should not",
    29: "TLS: certificate is about to expire",
    30: "TLS: certificate has expired",
    31: "TLS: certificate is for another name",
    32: "TLS: certificate is valid for too long",
    33: "TLS: given up because of an error",
    34: "TLS: does not say what it carries",
    35: "TLS: does not say which server it wants",
    36: "TLS: outdated version",
    37: "TLS: certificate vouched for by nobody",
    38: "TLS: server name hidden in an unusual way",
    39: "TLS: unusual extension",
    40: "TLS: carries something unusual",
    41: "TLS: weak encryption",
    42: "Protocol that is not safe",
    43: "URL that may run a command on the server",
    44: "URL that may ask the server's database",
    45: "URL that may run a script in a browser",
    46: "One side only: nobody has answered yet",
    47: "TLS: does not say that it carries web pages",
    48: "HTTP: server is outdated",
    49: "Comes at regular intervals",
    50: "Small irregularities",
    51: "TCP: connection has trouble",
    52: "Scrambled from the first byte on",
    53: "TLS: server name and content do not fit",
    54: "Host known for malware",
    55: "Binary data downloaded",
    56: "Probe for what may answer",
    57: "Client known from malware",
    58: "Disguised traffic",
}


def risk_name(risk: int) -> str:
    """Return the description of a risk of netifyd's numbering; for a newer one a text with its number."""
    return _NAMES.get(risk, f"Risk number {risk} of netifyd")
