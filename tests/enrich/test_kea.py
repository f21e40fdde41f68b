from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from enrich.lease_files import EARLIER, KEA4, KEA6, LATER, MAC, NOW, kea, read
from netify_agent.enrich import lease_formats, leases
from netify_agent.enrich.lease_formats import Lease
from netify_agent.enrich.leases import NameFiles, Names

LLT = "00:01:00:01:2c:aa:bb:cc:" + MAC


def row6(ip: str, name: str, *, duid: str = "00:01", kind: int = 0, mac: str = MAC, hwtype: str = "1") -> str:
    return f"{ip},{duid},3600,{LATER},1,1800,{kind},7,128,0,0,{name},{mac},0,,{hwtype},0,0\n"


def test_names_by_mac_and_address(tmp_path: Path) -> None:
    names = read(tmp_path, KEA4 + kea("10.0.0.1", "laptop.example.org."))
    assert names == Names({MAC: "laptop.example.org"}, {"10.0.0.1": "laptop.example.org"}, LATER)


def test_later_rows_win(tmp_path: Path) -> None:
    names = read(tmp_path, KEA4 + kea("10.0.0.1", "old") + kea("10.0.0.2", "x") + kea("10.0.0.1", "new"))
    assert names.by_ip == {"10.0.0.1": "new", "10.0.0.2": "x"} and names.by_mac == {MAC: "new"}


@pytest.mark.parametrize(
    "over", [{"state": "1"}, {"state": "2"}, {"state": "3"}, {"lifetime": 0}, {"expire": EARLIER}]
)
def test_a_lease_that_is_over_has_no_name(tmp_path: Path, over: dict[str, int | str]) -> None:
    last = kea("10.0.0.1", "b", **over)  # type: ignore[arg-type]
    assert read(tmp_path, KEA4 + kea("10.0.0.1", "a") + last) == Names()


def test_a_registered_address_has_a_name_and_an_infinite_lease_never_ends(tmp_path: Path) -> None:
    rows = kea("10.0.0.1", "phone", state="4") + kea("10.0.0.2", "a", lifetime=0xFFFFFFFF, expire=EARLIER)
    assert read(tmp_path, KEA4 + rows).by_ip == {"10.0.0.1": "phone", "10.0.0.2": "a"}


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("tv&#x2cliving&#x26room", "tv,living&room"),
        ("b&#xc3&#xBCro-pc", "büro-pc"),
        ("b&#xfcro", None),  # not UTF-8
        ("a&#x0ab", None),
        ("a&#x26#x2cb", "a&#x2cb"),  # an escape that a client sent
        ("tv&#44living&#38room", "tv,living&room"),
        ("tv&#x2c;living", "tv,;living"),
        ("tv&#44;living&#38;room", "tv,living&room"),
        ("a&#xg1&#999;", "a&#xg1&#999;"),
        ('"tv', '"tv'),
        ('"infix-1"', '"infix-1"'),
        ("*", None),
    ],
)
def test_a_name_is_unescaped_once_and_quotes_are_characters(
    tmp_path: Path, written: str, name: str | None
) -> None:
    found = read(tmp_path, KEA4 + kea("10.0.0.1", written) + kea("10.0.0.2", "next")).by_ip
    assert found.get("10.0.0.1") == name and found["10.0.0.2"] == "next"


def test_dhcpv6_is_read_by_its_own_columns_and_prefixes_are_no_hosts(tmp_path: Path) -> None:
    rows = row6("fd00:0::5", "laptop6") + row6("fd00:1::", "prefix", kind=2)
    assert read(tmp_path, KEA6 + rows).by_ip == {"fd00::5": "laptop6"}


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        (KEA6 + row6("fd00::5", "a", mac="", duid=LLT), True),
        (KEA6 + row6("fd00::5", "a", mac="", duid=LLT, hwtype=""), True),
        (KEA6 + row6("fd00::5", "a", mac="", duid=LLT, hwtype="32"), False),
        (KEA6 + row6("fd00::5", "a", mac="", duid="not hex"), False),
        (KEA4 + kea("10.0.0.1", "a", mac="", client="01:" + MAC), True),
        (KEA4 + kea("10.0.0.1", "a", mac="", client="ff:01:02:03:04:" + LLT), True),
    ],
)
def test_without_a_hardware_address_the_identifier_tells_it(tmp_path: Path, rows: str, found: bool) -> None:
    assert read(tmp_path, rows).by_mac == ({MAC: "a"} if found else {})


def test_columns_go_by_their_names_in_every_version(tmp_path: Path) -> None:
    first = KEA4[: KEA4.index(",state")] + "\n"
    old = f"10.0.0.1,{MAC},,3600,{LATER},1,0,0,old\n"
    names = read(tmp_path, "\ufeff" + first + old + kea("10.0.0.2", "b") + kea("10.0.0.3", "c", state="1"))
    assert names.by_ip == {"10.0.0.1": "old", "10.0.0.2": "b"}
    moved = f"address,hostname,extra,expire,valid_lifetime\r\n10.0.0.1,a,x,{LATER},60,more\r\n"
    assert read(tmp_path, moved).by_ip == {"10.0.0.1": "a"}


@pytest.mark.parametrize(
    "broken", [",,,", '"unclosed', "10.0.0.9,x", "\x00", "10.0.0.1,,,x", kea("10.0.0.1", "x", expire="soon")]
)
def test_a_broken_row_costs_only_itself(tmp_path: Path, broken: str) -> None:
    text = KEA4 + kea("10.0.0.1", "a") + broken.rstrip() + "\n" + kea("10.0.0.2", "b")
    assert read(tmp_path, text).by_ip == {"10.0.0.1": "a", "10.0.0.2": "b"}


def test_a_row_still_being_written_is_ignored(tmp_path: Path) -> None:
    whole = KEA4 + kea("10.0.0.1", "a")
    last = kea("10.0.0.1", "changed").rstrip()
    for end in range(len(last) - 1):
        assert read(tmp_path, whole + last[:end]).by_ip == {"10.0.0.1": "a"}
    assert read(tmp_path, whole + last).by_ip == {"10.0.0.1": "changed"}


class TestCleanUp:
    """The lease file clean-up (LFC) renames the lease file while Kea goes on with a new one."""

    def read(self, tmp_path: Path, pattern: str = "kea.csv", **files: str) -> dict[str, str]:
        for suffix, rows in files.items():
            (tmp_path / f"kea.csv{suffix.replace('_', '.')}").write_text(rows and KEA4 + rows)
        names = NameFiles(hosts=[], leases=[str(tmp_path / pattern)])
        names.refresh(NOW)
        return names.names.by_ip

    @pytest.mark.parametrize("pattern", ["kea.csv", "*"])
    def test_the_files_are_one_journal(self, tmp_path: Path, pattern: str) -> None:
        (tmp_path / "kea.csv.pid").write_text("1234\n")
        found = self.read(
            tmp_path,
            pattern,
            _2=kea("10.0.0.1", "a2") + kea("10.0.0.2", "b2") + kea("10.0.0.3", "c2") + kea("10.0.0.4", "d2"),
            _1=kea("10.0.0.2", "b1") + kea("10.0.0.3", "c1"),
            _output=kea("10.0.0.1", "unfinished") + kea("10.0.0.9", "unfinished"),
            **{"": kea("10.0.0.3", "c") + kea("10.0.0.4", "", lifetime=0)},
        )
        assert found == {"10.0.0.1": "a2", "10.0.0.2": "b1", "10.0.0.3": "c"}

    def test_the_completed_file_replaces_those_it_was_made_of(self, tmp_path: Path) -> None:
        old = kea("10.0.0.1", "old") + kea("10.0.0.2", "gone")
        found = self.read(tmp_path, _2=old, _1=old, _completed=kea("10.0.0.1", "merged"), **{"": ""})
        assert found == {"10.0.0.1": "merged"}

    def test_a_lease_file_that_was_just_renamed_costs_no_name(self, tmp_path: Path) -> None:
        assert self.read(tmp_path, _1=kea("10.0.0.1", "a")) == {"10.0.0.1": "a"}

    def test_a_clean_up_that_begins_while_the_files_are_read_costs_no_name(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path, moved = tmp_path / "kea.csv", tmp_path / "kea.csv.1"

        def begin(name: str, max_bytes: int) -> Iterator[Lease]:
            if not moved.exists():
                path.rename(moved)
                path.write_text(KEA4)
            return lease_formats.read_leases(name, max_bytes)

        monkeypatch.setattr(leases, "read_leases", begin)
        assert self.read(tmp_path, **{"": kea("10.0.0.1", "a")}) == {"10.0.0.1": "a"}

    def test_a_change_of_any_of_them_is_noticed(self, tmp_path: Path) -> None:
        self.read(tmp_path, **{"": kea("10.0.0.1", "a")})
        files = NameFiles(hosts=[], leases=[str(tmp_path / "kea.csv")])
        files.refresh(NOW)
        (tmp_path / "kea.csv.2").write_text(KEA4 + kea("10.0.0.2", "b"))
        assert files.refresh(NOW)
        assert files.names.by_ip == {"10.0.0.1": "a", "10.0.0.2": "b"}

    def test_files_of_other_servers_have_no_such_files(self, tmp_path: Path) -> None:
        (tmp_path / "dnsmasq.leases").write_text(f"{LATER} {MAC} 10.0.0.1 current *\n")
        (tmp_path / "dnsmasq.leases.1").write_text(f"{LATER} {MAC} 10.0.0.2 rotated *\n")
        assert self.read(tmp_path, "dnsmasq.leases") == {"10.0.0.1": "current"}
        assert self.read(tmp_path, "dnsmasq.leases*") == {"10.0.0.1": "current", "10.0.0.2": "rotated"}
