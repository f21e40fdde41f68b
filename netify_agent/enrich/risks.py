"""Names of netifyd's risks, in standard terms, and their severities.

Source of the numbers: ``nd_risk_id_t`` in nd-risks.h of netifyd 4 and ``ndRisk::Id`` in nd-risks.hpp of
netifyd 5, which appends to it. They are not nDPI's numbers (``ndpi_risk_enum``), which netifyd translates.
Measured on netifyd 4.4.5: 10 occurs only with HTTP hosts that are IP addresses, 4 with VNC and TeamViewer,
25 with SSH, 36 with TLS 1.0. In nDPI's numbering these would be a certificate mismatch, a binary download,
suspicious HTTP content and clear-text credentials.

Severities are nDPI's (``ndpi_known_risks`` in its ndpi_main.c), as netifyd 4.4.5 uses it; newer versions of
nDPI rate 7 medium and 28 low. A flow's risk score is the sum over its risks: low counts 10, medium 50, high
100, severe 150. 34, 57 and later additions have no severity in nDPI.
"""

from __future__ import annotations

LOW, MEDIUM, HIGH, SEVERE = "low", "medium", "high", "severe"
SEVERITIES = (LOW, MEDIUM, HIGH, SEVERE)

#: netifyd's number to name and severity.
_RISKS: dict[int, tuple[str, str | None]] = {
    1: ("Anonymizing service (VPN, Tor or proxy)", MEDIUM),
    2: ("Executable downloaded without encryption", SEVERE),
    3: ("Password sent in clear text", HIGH),
    4: ("Remote desktop or file sharing session", LOW),
    5: ("Fragmented DNS message", MEDIUM),
    6: ("Unusually large DNS message", MEDIUM),
    7: ("Suspicious DNS query or answer", HIGH),
    8: ("Error response from the remote host", LOW),
    9: ("Crawler or bot", LOW),
    10: ("Server addressed by IP address instead of name", LOW),
    11: ("HTTP content does not match its declared type", HIGH),
    12: ("Suspicious HTTP header", HIGH),
    13: ("Suspicious URL", HIGH),
    14: ("Suspicious User-Agent", HIGH),
    15: ("Invalid characters in text", HIGH),
    16: ("Known protocol on a non-standard port", MEDIUM),
    17: ("Malformed packet", LOW),
    18: ("TLS client fingerprint (JA3) known from malware", MEDIUM),
    19: ("Certificate fingerprint known from malware", MEDIUM),
    20: ("Possible exploit", SEVERE),
    21: ("Punycode host name (possible imitation)", LOW),
    22: ("Network (ASN) with a bad reputation", MEDIUM),
    23: ("Domain name with a bad reputation", MEDIUM),
    24: ("Insecure SMB version", HIGH),
    25: ("Outdated SSH client", HIGH),
    26: ("Outdated SSH server", MEDIUM),
    27: ("Generated-looking host name (possible DGA)", HIGH),
    28: ("Unusual entropy of the content", MEDIUM),
    29: ("Certificate about to expire", MEDIUM),
    30: ("Expired certificate", HIGH),
    31: ("Certificate for another host name", HIGH),
    32: ("Certificate with a very long validity", MEDIUM),
    33: ("TLS connection ended by a fatal alert", LOW),
    34: ("TLS without application protocol (ALPN)", None),
    35: ("TLS without server name (SNI)", MEDIUM),
    36: ("Outdated TLS version", HIGH),
    37: ("Self-signed certificate", HIGH),
    38: ("Suspicious encrypted server name (ESNI)", MEDIUM),
    39: ("Suspicious TLS extension", HIGH),
    40: ("Uncommon TLS application protocol (ALPN)", MEDIUM),
    41: ("Weak TLS cipher", HIGH),
    42: ("Unsafe protocol", LOW),
    43: ("Possible remote code execution (RCE) by URL", SEVERE),
    44: ("Possible SQL injection by URL", SEVERE),
    45: ("Possible cross-site scripting (XSS) by URL", SEVERE),
    46: ("No response (traffic in one direction only)", LOW),
    47: ("TLS that does not carry HTTPS", LOW),
    48: ("Outdated HTTP server", MEDIUM),
    49: ("Connection repeated at regular intervals", LOW),
    50: ("Minor issues", LOW),
    51: ("TCP connection problems", MEDIUM),
    52: ("Fully encrypted, unknown protocol", MEDIUM),
    53: ("TLS: ALPN and server name (SNI) do not match", MEDIUM),
    54: ("Host known from malware contacted", SEVERE),
    55: ("Binary data downloaded", MEDIUM),
    56: ("Probing attempt (scan)", MEDIUM),
    57: ("Client known from malware", None),
    58: ("Obfuscated traffic", HIGH),
}


def risk_name(risk: int) -> str:
    """The name of a risk.

    :param risk: netifyd's number; a number that is not in the table is returned as text.
    """
    return _RISKS[risk][0] if risk in _RISKS else f"Risk number {risk} of netifyd"


def risk_severity(risk: int) -> str | None:
    """One of :data:`SEVERITIES`; None if unknown.

    :param risk: netifyd's number.
    """
    return _RISKS[risk][1] if risk in _RISKS else None
