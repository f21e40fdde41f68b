from __future__ import annotations

import pytest

from netify_agent.enrich.identifiers import (
    clean_ip,
    clean_mac,
    clean_name,
    mac_of_client_id,
    mac_of_duid,
)

MAC = "02:00:00:00:90:01"
LLT = "00:01:00:01:2c:aa:bb:cc:" + MAC
LL = "00:03:00:01:" + MAC
EN = "00:02:00:00:ab:11:" + MAC


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (" laptop.example.org. ", "laptop.example.org"),
        ("laptop..", "laptop"),
        ("Bob’s iPhone", "Bob’s iPhone"),
        ("x" * 253, "x" * 253),
        ("x" * 254, None),
        *((text, None) for text in ("", " ", ".", "*", "-", "10.0.0.1", "::1")),
        *((text, None) for text in ("a\nb", "a\x00b", "a\x1b[31m", "a\u202eb", "\udcff")),
        *((text, None) for text in ("localhost", "LOCALHOST.localdomain.", "ip6-loopback")),
    ],
)
def test_a_name_is_trimmed_and_safe_to_show(text: str, name: str | None) -> None:
    assert clean_name(text) == name


@pytest.mark.parametrize(
    ("text", "mac"),
    [
        (" AA-BB-CC-00-11-22 ", "aa:bb:cc:00:11:22"),
        ("8:0:20:1:2:F", "08:00:20:01:02:0f"),
        ("00:00:00:00:00:00", None),
        ("06-aa:bb:cc:00:11:22", None),
        ("aa:bb:cc", None),
    ],
)
def test_a_mac_has_one_spelling(text: str, mac: str | None) -> None:
    assert clean_mac(text) == mac


def test_an_ip_address_has_one_spelling() -> None:
    assert clean_ip("FD00:0:0::1") == "fd00::1"
    assert clean_ip("::FFFF:192.0.2.1") == clean_ip("::ffff:c000:201") == "192.0.2.1"
    assert clean_ip("1.2.3") is None


@pytest.mark.parametrize(
    ("duid", "mac"),
    [
        (LLT, MAC),
        (LL, MAC),
        (EN, None),
        ("00:03:00:20:" + MAC, None),  # InfiniBand
        ("00:04:" + "ab:" * 15 + "ab", None),  # UUID
        (LL + ":07", None),
        (LL[:-3], None),
        ("00:03:00:01:00:00:00:00:00:00", None),
        ("00", None),
    ],
)
def test_a_duid_of_a_link_layer_address_has_its_mac(duid: str, mac: str | None) -> None:
    octets = bytes.fromhex(duid.replace(":", ""))
    assert mac_of_duid(octets) == mac
    assert mac_of_client_id(b"\xff\x01\x02\x03\x04" + octets) == mac


@pytest.mark.parametrize(
    ("identifier", "mac"),
    [("01" + MAC, MAC), ("01:61", None), ("00" + MAC, None), ("ff:58:88:c0:c1:00:02", None), ("", None)],
)
def test_a_client_identifier_has_a_mac_by_its_type(identifier: str, mac: str | None) -> None:
    assert mac_of_client_id(bytes.fromhex(identifier.replace(":", ""))) == mac
