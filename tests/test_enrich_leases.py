from __future__ import annotations

import json
import logging
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netify_agent.enrich import lease_formats, leases
from netify_agent.enrich.identifiers import clean_ip, clean_mac, clean_name
from netify_agent.enrich.leases import NameFiles, Names

NOW = 1_700_000_000.0
LATER = int(NOW) + 3600
EARLIER = int(NOW) - 1


def read(tmp_path: Path, content: str | bytes, name: str = "leases") -> Names:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    files = NameFiles(hosts=[], leases=[str(path)])
    files.refresh(NOW)
    return files.names


class TestNames:
    def test_a_name_loses_its_space_and_its_trailing_dot(self) -> None:
        assert clean_name(" laptop.example.org. ") == "laptop.example.org"
        assert clean_name("Bob’s iPhone") == "Bob’s iPhone"

    @pytest.mark.parametrize(
        "text",
        [
            *(
                "",
                " ",
                ".",
                "a\nb",
                "a\x00b",
                "a\x1b[31m",
                "a\u202eb",
                "\udcff",
                "x" * 254,
                "10.0.0.1",
                "::1",
            ),
            *("localhost", "LOCALHOST.localdomain.", "ip6-loopback"),
        ],
    )
    def test_what_is_no_name_of_a_device_is_none(self, text: str) -> None:
        assert clean_name(text) is None

    def test_253_characters_are_still_a_name(self) -> None:
        assert clean_name("x" * 253) == "x" * 253

    def test_addresses_get_one_spelling(self) -> None:
        assert clean_mac(" AA-BB-CC-00-11-22 ") == "aa:bb:cc:00:11:22"
        assert clean_mac("00:00:00:00:00:00") is None
        assert clean_mac("06-aa:bb:cc:00:11:22") is None
        assert clean_ip("FD00:0:0::1") == "fd00::1"
        assert clean_ip("1.2.3") is None


class TestDnsmasq:
    def test_names_by_mac_and_address(self, tmp_path: Path) -> None:
        names = read(tmp_path, f"{LATER} 02:00:00:00:00:01 192.168.1.2 laptop 01:02:00:00:00:00:01\n")
        assert names == Names({"02:00:00:00:00:01": "laptop"}, {"192.168.1.2": "laptop"}, LATER)

    def test_a_star_is_no_name(self, tmp_path: Path) -> None:
        assert read(tmp_path, f"{LATER} 02:00:00:00:00:01 192.168.1.2 * *\n") == Names()

    def test_an_ended_lease_is_ignored_and_zero_never_ends(self, tmp_path: Path) -> None:
        names = read(
            tmp_path, f"{EARLIER} 02:00:00:00:00:01 10.0.0.1 old *\n0 02:00:00:00:00:02 10.0.0.2 fixed *\n"
        )
        assert names == Names({"02:00:00:00:00:02": "fixed"}, {"10.0.0.2": "fixed"})

    def test_lease_lengths_of_a_machine_without_a_clock_are_no_expiry_times(self, tmp_path: Path) -> None:
        assert read(tmp_path, "43200 02:00:00:00:00:01 10.0.0.1 tv *\n").by_ip == {"10.0.0.1": "tv"}

    def test_dhcpv6_names_by_address(self, tmp_path: Path) -> None:
        names = read(
            tmp_path,
            f"{LATER} 02:00:00:00:00:01 10.0.0.1 * *\n"
            "duid 00:01:00:01:2c:aa:bb:cc:02:00:00:00:00:ff\n"
            f"{LATER} 12345 FD00::0:2 laptop6 00:01:00:01:2c\n{LATER} T99 fd00::3 temporary 00:01\n",
        )
        assert names.by_ip == {"fd00::2": "laptop6", "fd00::3": "temporary"}
        assert names.by_mac == {}

    def test_other_hardware_than_ethernet_is_named_by_address_only(self, tmp_path: Path) -> None:
        names = read(tmp_path, f"{LATER} 06-02:00:00:00:00:01 10.0.0.1 token *\n")
        assert names.by_mac == {} and names.by_ip == {"10.0.0.1": "token"}

    def test_broken_lines_cost_only_themselves(self, tmp_path: Path) -> None:
        names = read(
            tmp_path,
            f"{LATER} 02:00:00:00:00:01 10.0.0.1 first *\n".encode()
            + b"\xff\xfe\n\nnonsense\n"
            + f"{LATER} 02:00:00:00:00:02 not-an-ip x *\n".encode()
            + f"{LATER} 02:00:00:00:00:03 10.0.0.3 a\x1bb *\n".encode()
            + f"{LATER} 02:00:00:00:00:04 10.0.0.4 caf".encode()
            + b"\xe9 *\n"
            + f"{LATER} 02:00:00:00:00:05 10.0.0.5 last".encode(),
        )
        assert names.by_ip == {"10.0.0.1": "first", "10.0.0.5": "last"}


def isc(ip: str, *, name: str = '"laptop"', ends: str = "never", state: str = "active") -> str:
    return (
        f"lease {ip} {{\n  starts 4 2023/01/05 10:00:00;\n  ends {ends};\n  binding state {state};\n"
        f"  next binding state free;\n  rewind binding state free;\n"
        f'  hardware ethernet 02:00:00:00:00:01;\n  uid "\\001\\002}}";\n  client-hostname {name};\n}}\n'
    )


class TestIscDhcpd:
    HEAD = "# The format of this file is documented in dhcpd.leases(5).\n\nauthoring-byte-order x;\n"

    def test_names_by_mac_and_address(self, tmp_path: Path) -> None:
        names = read(tmp_path, self.HEAD + isc("10.0.0.1"))
        assert names == Names({"02:00:00:00:00:01": "laptop"}, {"10.0.0.1": "laptop"})

    def test_a_later_block_wins(self, tmp_path: Path) -> None:
        names = read(tmp_path, isc("10.0.0.1", name='"old"') + isc("10.0.0.1", name='"new"'))
        assert names == Names({"02:00:00:00:00:01": "new"}, {"10.0.0.1": "new"})

    @pytest.mark.parametrize("state", ["free", "expired", "released", "abandoned", "backup"])
    def test_a_later_block_that_is_not_active_ends_the_lease(self, tmp_path: Path, state: str) -> None:
        assert read(tmp_path, isc("10.0.0.1") + isc("10.0.0.1", state=state)) == Names()

    @pytest.mark.parametrize(
        ("ends", "current"),
        [
            ("2 2023/11/14 22:13:21", True),  # NOW is 22:13:20
            ("2 2023/11/14 22:13:20", False),
            (f"epoch {LATER}; # Tue Nov 14", True),
            (f"epoch {EARLIER}; # Tue Nov 14", False),
            ("never", True),
            ("2 2023/13/99 22:13:21", False),
            ("nonsense", False),
        ],
    )
    def test_an_ended_lease_is_ignored(self, tmp_path: Path, ends: str, current: bool) -> None:
        assert bool(read(tmp_path, isc("10.0.0.1", ends=ends)).by_ip) is current

    def test_escapes_in_a_name_are_undone(self, tmp_path: Path) -> None:
        assert read(tmp_path, isc("10.0.0.1", name='"J\\303\\266rg\\"s"')).by_ip == {"10.0.0.1": 'Jörg"s'}

    def test_an_escaped_control_byte_makes_it_no_name(self, tmp_path: Path) -> None:
        assert read(tmp_path, isc("10.0.0.1", name='"a\\033b"')) == Names()

    def test_a_block_still_being_written_is_ignored(self, tmp_path: Path) -> None:
        names = read(tmp_path, isc("10.0.0.1") + isc("10.0.0.2").removesuffix("}\n") + isc("10.0.0.3"))
        assert set(names.by_ip) == {"10.0.0.1", "10.0.0.3"}

    def test_other_statements_are_passed_over(self, tmp_path: Path) -> None:
        text = 'server-duid "\\000";\n\nhost x {\n  dynamic;\n  hardware ethernet 02:00:00:00:00:09;\n}\n'
        assert set(read(tmp_path, text + isc("10.0.0.1")).by_ip) == {"10.0.0.1"}


class TestKea:
    HEAD = (
        "address,hwaddr,client_id,valid_lifetime,expire,subnet_id,fqdn_fwd,fqdn_rev,hostname,state,"
        "user_context,pool_id\n"
    )

    def row(self, ip: str, name: str, *, expire: int = LATER, lifetime: int = 3600, state: str = "0") -> str:
        return f"{ip},02:00:00:00:00:01,01:02,{lifetime},{expire},1,0,0,{name},{state},,0\n"

    def test_names_by_mac_and_address(self, tmp_path: Path) -> None:
        names = read(tmp_path, self.HEAD + self.row("10.0.0.1", "laptop.example.org."))
        assert names.by_mac == {"02:00:00:00:00:01": "laptop.example.org"}
        assert names.by_ip == {"10.0.0.1": "laptop.example.org"}

    def test_later_rows_win(self, tmp_path: Path) -> None:
        names = read(tmp_path, self.HEAD + self.row("10.0.0.1", "old") + self.row("10.0.0.1", "new"))
        assert names.by_ip == {"10.0.0.1": "new"} and names.by_mac == {"02:00:00:00:00:01": "new"}

    @pytest.mark.parametrize("over", [{"state": "1"}, {"state": "2"}, {"lifetime": 0}, {"expire": EARLIER}])
    def test_a_lease_that_is_over_has_no_name(self, tmp_path: Path, over: dict[str, int | str]) -> None:
        last = self.row("10.0.0.1", "b", **over)  # type: ignore[arg-type]
        assert read(tmp_path, self.HEAD + self.row("10.0.0.1", "a") + last) == Names()

    def test_an_infinite_lease_never_ends(self, tmp_path: Path) -> None:
        row = self.row("10.0.0.1", "a", lifetime=0xFFFFFFFF, expire=EARLIER)
        assert read(tmp_path, self.HEAD + row).by_ip == {"10.0.0.1": "a"}

    def test_dhcpv6_is_read_by_its_own_columns_and_prefixes_are_no_hosts(self, tmp_path: Path) -> None:
        head = (
            "address,duid,valid_lifetime,expire,subnet_id,pref_lifetime,lease_type,iaid,prefix_len,fqdn_fwd,"
            "fqdn_rev,hostname,hwaddr,state,user_context,hwtype,hwaddr_source,pool_id\n"
        )
        rows = "".join(
            f"{ip},00:01,3600,{LATER},1,1800,{kind},7,128,0,0,{name},02:00:00:00:00:01,0,,1,0,0\n"
            for ip, kind, name in [("fd00:0::5", 0, "laptop6"), ("fd00:1::", 2, "prefix")]
        )
        assert read(tmp_path, head + rows).by_ip == {"fd00::5": "laptop6"}

    def test_broken_rows_cost_only_themselves(self, tmp_path: Path) -> None:
        text = self.HEAD + ',,,\n"unclosed\n10.0.0.9,x\n\x00\n' + self.row("10.0.0.1", "a")
        assert read(tmp_path, text).by_ip == {"10.0.0.1": "a"}


class TestNetworkd:
    def lease(self, **changes: object) -> dict[str, object]:
        return {
            "ClientId": [1, 2, 0, 0, 0, 0, 1],
            "Address": [192, 168, 1, 2],
            "Hostname": "laptop",
            "HardwareAddressType": 1,
            "HardwareAddressLength": 6,
            "HardwareAddress": [2, 0, 0, 0, 0, 1],
            "ExpirationUSec": 5,
            "ExpirationRealtimeUSec": LATER * 1_000_000,
        } | changes

    def read(self, tmp_path: Path, *rows: object) -> Names:
        return read(tmp_path, json.dumps({"BootID": "x", "Address": [192, 168, 1, 1], "Leases": rows}))

    def test_names_by_mac_and_address(self, tmp_path: Path) -> None:
        names = self.read(tmp_path, self.lease())
        assert names == Names({"02:00:00:00:00:01": "laptop"}, {"192.168.1.2": "laptop"}, LATER)

    def test_without_a_hardware_address_the_client_identifier_tells_it(self, tmp_path: Path) -> None:
        assert self.read(tmp_path, self.lease(HardwareAddress=None)).by_mac == {"02:00:00:00:00:01": "laptop"}
        other = self.lease(HardwareAddress=None, ClientId=[255, 2, 0, 0, 0, 0, 1])
        assert self.read(tmp_path, other).by_mac == {}

    def test_an_ended_lease_is_ignored_and_one_without_an_end_is_not(self, tmp_path: Path) -> None:
        assert self.read(tmp_path, self.lease(ExpirationRealtimeUSec=EARLIER * 1_000_000)) == Names()
        assert self.read(tmp_path, self.lease(ExpirationRealtimeUSec=None)).by_ip == {"192.168.1.2": "laptop"}

    def test_odd_rows_cost_only_themselves(self, tmp_path: Path) -> None:
        odd = [
            None,
            3,
            {},
            self.lease(Address=[1, 2, 3]),
            self.lease(Address=[1, 2, 3, 999]),
            self.lease(Address=[1, 2, 3, 4], Hostname=7),
            self.lease(Address="10.0.0.1"),
        ]
        assert self.read(tmp_path, *odd, self.lease()).by_ip == {"192.168.1.2": "laptop"}

    @pytest.mark.parametrize("text", ["{", "[]", '{"Leases": 5}', "[" * 100_000, "{" + " " * 3_000_000 + "}"])
    def test_a_broken_file_has_no_names(self, tmp_path: Path, text: str) -> None:
        assert read(tmp_path, text) == Names()


class TestHosts:
    def read(self, tmp_path: Path, content: str | bytes) -> dict[str, str]:
        path = tmp_path / "hosts"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        files = NameFiles(hosts=[str(path)], leases=[])
        files.refresh(NOW)
        return files.names.by_ip

    def test_the_first_name_of_the_first_line_of_an_address_counts(self, tmp_path: Path) -> None:
        text = "# comment\n192.168.1.5\tnas.example.org nas # the disk\n192.168.1.5 other\nFD00::0:9 nas6\n"
        assert self.read(tmp_path, text) == {"192.168.1.5": "nas.example.org", "fd00::9": "nas6"}

    def test_addresses_of_no_other_host_are_ignored(self, tmp_path: Path) -> None:
        text = (
            "127.0.0.1 localhost\n127.0.1.1 gateway\n::1 ip6-loopback\nff02::1 ip6-allnodes\n"
            "0.0.0.0 ads.example.org\n255.255.255.255 broadcasthost\n10.0.0.1 localhost\n"
        )
        assert self.read(tmp_path, text) == {}

    def test_broken_lines_cost_only_themselves(self, tmp_path: Path) -> None:
        assert self.read(tmp_path, b"\xff\n10.0.0.1\nx y\n10.0.0.2 a\x01\n10.0.0.3 ok\n") == {
            "10.0.0.3": "ok"
        }

    def test_an_endless_file_is_read_to_its_limit(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(leases, "MAX_HOSTS_FILE", 20)
        assert self.read(tmp_path, "10.0.0.1 a\n10.0.0.2 b\n10.0.0.3 c\n") == {
            "10.0.0.1": "a",
            "10.0.0.2": "b",
        }


def dnsmasq(ip: str, name: str, mac: str = "02:00:00:00:00:01", expires: int = LATER) -> str:
    return f"{expires} {mac} {ip} {name} *\n"


class TestNameFiles:
    def test_leases_go_before_hosts_and_earlier_files_before_later(self, tmp_path: Path) -> None:
        (tmp_path / "a.leases").write_text(dnsmasq("10.0.0.1", "first"))
        (tmp_path / "b.leases").write_text(dnsmasq("10.0.0.1", "second") + dnsmasq("10.0.0.2", "other"))
        (tmp_path / "hosts").write_text("10.0.0.1 fixed\n10.0.0.3 printer\n")
        files = NameFiles(hosts=[str(tmp_path / "hosts")], leases=[str(tmp_path / "*.leases")])
        assert files.refresh(NOW)
        assert files.names.by_ip == {"10.0.0.1": "first", "10.0.0.2": "other", "10.0.0.3": "printer"}
        assert files.names.by_mac == {"02:00:00:00:00:01": "first"}

    def test_files_that_appear_change_and_vanish_are_noticed(self, tmp_path: Path) -> None:
        files = NameFiles(hosts=[], leases=[str(tmp_path / "*")])
        assert not files.refresh(NOW)
        path = tmp_path / "leases"
        path.write_text(dnsmasq("10.0.0.1", "one"))
        assert files.refresh(NOW)
        assert not files.refresh(NOW)
        new = tmp_path / "x"
        new.write_text(dnsmasq("10.0.0.1", "two"))
        os.replace(new, path)
        assert files.refresh(NOW)
        assert files.names.by_ip == {"10.0.0.1": "two"}
        path.unlink()
        assert files.refresh(NOW)
        assert files.names == Names()

    def test_a_lease_ends_though_its_file_stays_the_same(self, tmp_path: Path) -> None:
        path = tmp_path / "leases"
        path.write_text(dnsmasq("10.0.0.1", "a") + dnsmasq("10.0.0.2", "b", expires=LATER + 100))
        files = NameFiles(hosts=[], leases=[str(path)])
        files.refresh(NOW)
        assert not files.refresh(LATER - 1)
        assert files.refresh(LATER)
        assert files.names.by_ip == {"10.0.0.2": "b"}

    def test_a_rewritten_file_with_the_same_names_is_no_change(self, tmp_path: Path) -> None:
        path = tmp_path / "leases"
        path.write_text(dnsmasq("10.0.0.1", "a"))
        files = NameFiles(hosts=[], leases=[str(path)])
        files.refresh(NOW)
        path.write_text(dnsmasq("10.0.0.1", "a", expires=LATER + 100) + "\n")
        assert not files.refresh(NOW)
        assert files.names.expires_at == LATER + 100

    def test_an_unreadable_file_is_warned_of_once(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        secret = tmp_path / "a.leases"
        secret.write_text(dnsmasq("10.0.0.1", "secret"))
        other = tmp_path / "b.leases"
        other.write_text(dnsmasq("10.0.0.2", "open"))

        def denied(path: str) -> object:
            # Root may read everything, so the refusal is the one thing here that is not real.
            if path == str(secret):
                raise PermissionError(13, "Permission denied", path)
            return lease_formats.read_leases(path)

        monkeypatch.setattr(leases, "read_leases", denied)
        files = NameFiles(hosts=[], leases=[str(tmp_path / "*.leases")])
        with caplog.at_level(logging.WARNING):
            files.refresh(NOW)
            other.write_text(dnsmasq("10.0.0.2", "changed"))
            files.refresh(NOW)
        assert files.names.by_ip == {"10.0.0.2": "changed"}
        assert [record.getMessage().count(str(secret)) for record in caplog.records] == [1]

    def test_what_is_no_file_is_passed_over(self, tmp_path: Path) -> None:
        (tmp_path / "directory").mkdir()
        os.mkfifo(tmp_path / "fifo")
        (tmp_path / "empty").touch()
        (tmp_path / "comments").write_text("# nothing\n")
        files = NameFiles(hosts=[str(tmp_path / "fifo"), "\0", ""], leases=[str(tmp_path / "*"), "/none/*"])
        assert not files.refresh(NOW)

    @pytest.mark.parametrize(
        ("head", "row"),
        [
            ("", dnsmasq),
            (TestKea.HEAD, TestKea().row),
            (isc("10.9.9.9"), lambda ip, name: isc(ip, name=f'"{name}"')),
        ],
    )
    def test_of_a_huge_file_the_end_is_read(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, head: str, row: object
    ) -> None:
        assert callable(row)
        rows = [row(f"10.0.1.{i}", f"host{i}") for i in range(20)]
        monkeypatch.setattr(lease_formats, "MAX_FILE", len("".join(rows[-3:]).encode()) + 10)
        names = read(tmp_path, head + "".join(rows))
        assert names.by_ip == {f"10.0.1.{i}": f"host{i}" for i in (17, 18, 19)}

    def test_no_more_addresses_are_kept_than_the_limit(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(leases, "MAX_ADDRESSES", 2)
        rows = dnsmasq("10.0.0.1", "a") + dnsmasq("10.0.0.2", "b") + dnsmasq("10.0.0.3", "c")
        assert read(tmp_path, rows + dnsmasq("10.0.0.1", "a2")).by_ip == {"10.0.0.1": "a2", "10.0.0.2": "b"}


@pytest.mark.parametrize(
    "head", [b"", b"1 ", b"lease 10.0.0.1 {\n", TestKea.HEAD.encode(), b'{"Leases": [', b"duid x\n"]
)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(junk=st.binary(max_size=400))
def test_no_content_of_any_file_raises(tmp_path: Path, head: bytes, junk: bytes) -> None:
    path = tmp_path / "leases"
    path.write_bytes(head + junk)
    NameFiles(hosts=[str(path)], leases=[str(path)]).refresh(NOW)
