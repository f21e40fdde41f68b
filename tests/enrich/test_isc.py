from __future__ import annotations

from pathlib import Path

import pytest

from enrich.lease_files import EARLIER, LATER, MAC, isc, read
from netify_agent.enrich.leases import Names

HEAD = "# The format of this file is documented in dhcpd.leases(5).\n\nauthoring-byte-order x;\n"


def test_names_by_mac_and_address(tmp_path: Path) -> None:
    assert read(tmp_path, HEAD + isc("10.0.0.1")) == Names({MAC: "laptop"}, {"10.0.0.1": "laptop"})


def test_a_later_block_wins(tmp_path: Path) -> None:
    names = read(tmp_path, isc("10.0.0.1", name='"old"') + isc("10.0.0.1", name='"new"'))
    assert names == Names({MAC: "new"}, {"10.0.0.1": "new"})


@pytest.mark.parametrize("state", ["free", "expired", "released", "abandoned", "backup", "", "active x"])
def test_a_later_block_that_is_not_active_ends_the_lease(tmp_path: Path, state: str) -> None:
    assert read(tmp_path, isc("10.0.0.1") + isc("10.0.0.1", state=state)) == Names()


@pytest.mark.parametrize(
    ("ends", "current"),
    [
        ("2 2023/11/14 22:13:21", True),  # NOW is 22:13:20
        ("2 2023/11/14 22:13:20", False),
        ("2 2023/11/14 22:13:21 UTC", True),
        ("2 2023/11/14 22:13:20 UTC", False),
        (f"epoch {LATER}; # Tue }} Nov 14", True),
        (f"epoch {EARLIER}; # Tue Nov 14", False),
        ("never", True),
        ("2 2023/13/99 22:13:21", False),
        ("nonsense", False),
        ("", False),
    ],
)
def test_an_ended_lease_is_ignored(tmp_path: Path, ends: str, current: bool) -> None:
    assert bool(read(tmp_path, isc("10.0.0.1", ends=ends)).by_ip) is current


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('"J\\303\\266rg\\"s"', 'Jörg"s'),
        ('"a } b; { c # d"', "a } b; { c # d"),
        ('"a\\033b"', None),
        ('"-"', None),
        ('"unclosed;', None),
    ],
)
def test_a_string_can_have_escapes_and_punctuation(tmp_path: Path, text: str, name: str | None) -> None:
    found = read(tmp_path, isc("10.0.0.1", name=text) + isc("10.0.0.2", name='"next"')).by_ip
    assert found.get("10.0.0.1") == name and found["10.0.0.2"] == "next"


def test_line_breaks_have_no_meaning(tmp_path: Path) -> None:
    flat = " ".join((isc("10.0.0.1") + isc("10.0.0.2")).split("\n"))
    broken = isc("10.0.0.3").replace(" ", "\r\n\t")
    assert set(read(tmp_path, flat + "\n" + broken).by_ip) == {"10.0.0.1", "10.0.0.2", "10.0.0.3"}


def test_the_name_of_dynamic_dns_is_used_where_the_client_sent_none(tmp_path: Path) -> None:
    dynamic = 'set ddns-fwd-name = "pc.example.net"; client-hostname'
    block = isc("10.0.0.1").replace("client-hostname", dynamic)
    assert read(tmp_path, block).by_ip == {"10.0.0.1": "laptop"}
    assert read(tmp_path, block.replace('"laptop"', '""')).by_ip == {"10.0.0.1": "pc.example.net"}


def test_a_block_still_being_written_is_ignored(tmp_path: Path) -> None:
    names = read(tmp_path, isc("10.0.0.1") + isc("10.0.0.2").removesuffix("}\n") + isc("10.0.0.3"))
    assert set(names.by_ip) == {"10.0.0.1", "10.0.0.3"}


def test_other_statements_are_passed_over(tmp_path: Path) -> None:
    text = f'server-duid "\\000";\n\nhost x {{\n  dynamic;\n  hardware ethernet {MAC};\n}}\n'
    assert set(read(tmp_path, text + "{" * 50 + isc("10.0.0.1")).by_ip) == {"10.0.0.1"}


def test_openbsd_writes_no_binding_state(tmp_path: Path) -> None:
    block = (
        "lease 192.0.2.86 {{\n\tstarts 3 2023/11/14 10:00:00 UTC;\n\tends 3 2099/11/20 22:00:00 UTC;\n"
        '\thardware ethernet 02:00:00:00:80:86;\n{}\tclient-hostname "obsd";\n}}\n'
    )
    assert read(tmp_path, block.format("")).by_mac == {"02:00:00:00:80:86": "obsd"}
    assert read(tmp_path, block.format("") + block.format("\tabandoned;\n")) == Names()


SIX = r"""server-duid "\000\001\000\001\"";
ia-na "\001\000\000\000\000\001\000\001\"\001 \003" {
  cltt 5 2023/09/04 04:52:35;
  iaaddr 2001:db8:175::4a {
    binding state abandoned;
    ends never;
    set ddns-fwd-name = "dead.example.net";
  }
}
ia-na " : {\314\000\001\000\001- \203j : }" {
  iaaddr 2001:DB8:175:0::4b {
    binding state active;
    preferred-life 4500;
    ends 5 2099/09/04 06:52:35;
    set ddns-client-fqdn = "six";
    set ddns-fwd-name = "six.example.net";
  }
}
ia-ta 01:00:00:00:00:01 { iaaddr 2001:db8:175::4c { binding state active; ends never;
    set ddns-fwd-name = "temporary"; } }
ia-pd "\001" {
  iaprefix 2001:db8:176::/56 {
    binding state active;
    ends never;
    set ddns-fwd-name = "prefix";
  }
}
"""


def test_dhcpv6_names_by_address(tmp_path: Path) -> None:
    names = read(tmp_path, SIX)
    assert names.by_ip == {"2001:db8:175::4b": "six.example.net", "2001:db8:175::4c": "temporary"}
    assert names.by_mac == {}
