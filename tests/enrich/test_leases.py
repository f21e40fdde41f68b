from __future__ import annotations

import json
import logging
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from enrich.lease_files import KEA4, KEA6, LATER, NOW, dnsmasq, isc, kea, read
from netify_agent.enrich import lease_formats, leases
from netify_agent.enrich.files import FileLimits
from netify_agent.enrich.leases import NameFiles, Names


def test_leases_go_before_hosts_and_earlier_files_before_later(tmp_path: Path) -> None:
    (tmp_path / "a.leases").write_text(dnsmasq("10.0.0.1", "first"))
    (tmp_path / "b.leases").write_text(dnsmasq("10.0.0.1", "second") + dnsmasq("10.0.0.2", "other"))
    (tmp_path / "hosts").write_text("10.0.0.1 fixed\n10.0.0.3 printer\n")
    files = NameFiles(hosts=[str(tmp_path / "hosts")], leases=[str(tmp_path / "*.leases")])
    assert files.refresh(NOW)
    assert files.names.by_ip == {"10.0.0.1": "first", "10.0.0.2": "other", "10.0.0.3": "printer"}
    assert files.names.by_mac == {"02:00:00:00:00:01": "first"}


def test_files_that_appear_change_and_vanish_are_noticed(tmp_path: Path) -> None:
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


def test_a_lease_ends_though_its_file_stays_the_same(tmp_path: Path) -> None:
    path = tmp_path / "leases"
    path.write_text(dnsmasq("10.0.0.1", "a") + dnsmasq("10.0.0.2", "b", expires=LATER + 100))
    files = NameFiles(hosts=[], leases=[str(path)])
    files.refresh(NOW)
    assert not files.refresh(LATER - 1)
    assert files.refresh(LATER)
    assert files.names.by_ip == {"10.0.0.2": "b"}


def test_a_rewritten_file_with_the_same_names_is_no_change(tmp_path: Path) -> None:
    path = tmp_path / "leases"
    path.write_text(dnsmasq("10.0.0.1", "a"))
    files = NameFiles(hosts=[], leases=[str(path)])
    files.refresh(NOW)
    path.write_text(dnsmasq("10.0.0.1", "a", expires=LATER + 100) + "\n")
    assert not files.refresh(NOW)
    assert files.names.expires_at == LATER + 100


def test_an_unreadable_file_is_warned_of_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    secret = tmp_path / "a.leases"
    secret.write_text(dnsmasq("10.0.0.1", "secret"))
    other = tmp_path / "b.leases"
    other.write_text(dnsmasq("10.0.0.2", "open"))

    def denied(path: str, max_bytes: int) -> object:
        # Root may read everything, so the refusal is the one thing here that is not real.
        if path == str(secret):
            raise PermissionError(13, "Permission denied", path)
        return lease_formats.read_leases(path, max_bytes)

    monkeypatch.setattr(leases, "read_leases", denied)
    files = NameFiles(hosts=[], leases=[str(tmp_path / "*.leases")])
    with caplog.at_level(logging.WARNING):
        files.refresh(NOW)
        other.write_text(dnsmasq("10.0.0.2", "changed"))
        files.refresh(NOW)
    assert files.names.by_ip == {"10.0.0.2": "changed"}
    assert [record.getMessage().count(str(secret)) for record in caplog.records] == [1]


def test_what_is_no_file_is_passed_over(tmp_path: Path) -> None:
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
        (KEA4, kea),
        (isc("10.9.9.9"), lambda ip, name: isc(ip, name=f'"{name}"')),
    ],
)
def test_of_a_huge_file_the_end_is_read(tmp_path: Path, head: str, row: object) -> None:
    assert callable(row)
    rows = [row(f"10.0.1.{i}", f"host{i}") for i in range(20)]
    limits = FileLimits(max_bytes=len("".join(rows[-3:]).encode()) + 10)
    names = read(tmp_path, head + "".join(rows), limits=limits)
    assert names.by_ip == {f"10.0.1.{i}": f"host{i}" for i in (17, 18, 19)}


def test_no_more_addresses_are_kept_than_the_limit(tmp_path: Path) -> None:
    rows = dnsmasq("10.0.0.1", "a") + dnsmasq("10.0.0.2", "b") + dnsmasq("10.0.0.3", "c")
    names = read(tmp_path, rows + dnsmasq("10.0.0.1", "a2"), limits=FileLimits(max_addresses=2))
    assert names.by_ip == {"10.0.0.1": "a2", "10.0.0.2": "b"}


UNKNOWN = [
    "root:*:1:",
    "[Match]\nName=br0\n",
    "{",
    '{"a": 1}',
    "[1]",
    "[" * 100_000,
    "5 apples\n",
    "lease {\n",
]


@pytest.mark.parametrize("text", UNKNOWN)
def test_an_unknown_format_is_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    path = tmp_path / "leases"
    files = NameFiles(hosts=[], leases=[str(path)])

    def complaints(content: str) -> list[str]:
        caplog.clear()
        path.write_text(content)
        files.refresh(NOW)
        return caplog.messages

    (message,) = complaints(text)
    assert str(path) in message
    if text[:2] != "[[":  # which is told to be nested too deeply
        assert f"starts with {text.splitlines()[0]!r}" in message and "AdGuard Home" in message
    assert complaints(text + " ") == []
    assert len(complaints("another\x1b" + text)) == 1
    assert complaints(dnsmasq("10.0.0.1", "a")) == []
    assert len(complaints(text)) == 1


@pytest.mark.parametrize(
    "text", ["", "# nothing\n", "\n\n", "null", "[]", '{"BootID": "x"}', '{"leases": null}']
)
def test_a_file_without_leases_or_a_missing_one_is_no_complaint(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    assert read(tmp_path, text) == Names()
    NameFiles(hosts=["/none"], ethers=["/none"], leases=[str(tmp_path / "none")]).refresh(NOW)
    assert caplog.messages == []


@pytest.mark.parametrize("text", [dnsmasq("10.0.0.1", "a"), isc("10.0.0.1"), KEA4 + kea("10.0.0.1", "a")])
def test_a_byte_order_mark_line_ends_and_spellings_do_not_matter(tmp_path: Path, text: str) -> None:
    spelled = text.replace("02:00:00:00:00:01", "0A-BB-CC-DD-EE-FF").replace("\n", "\r\n")
    assert set(read(tmp_path, "\ufeff" + spelled).by_mac) == {"0a:bb:cc:dd:ee:ff"}


def test_a_json_file_that_is_too_large_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert read(tmp_path, "{" + " " * 3_000_000 + "}") == Names()
    assert "larger than 2097152 bytes" in caplog.text


HEADS = [
    b"",
    b"\xef\xbb\xbf",
    b"1 ",
    b"lease 10.0.0.1 {\n",
    b'{"Leases": [',
    b'{"leases": [',
    b"[{",
    b"duid x\n",
]
WHOLE = [KEA4.encode() + kea("10.0.0.1", "a").encode(), KEA6.encode(), isc("10.0.0.1").encode()]


@pytest.mark.parametrize("head", HEADS + WHOLE)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(junk=st.binary(max_size=400), cut=st.integers(0, 400))
def test_no_content_of_any_file_raises(tmp_path: Path, head: bytes, junk: bytes, cut: int) -> None:
    path = str(tmp_path / "leases")
    for name in (path, path + ".2"):
        Path(name).write_bytes(head[:cut] + junk + head[cut:])
    NameFiles(hosts=[path], ethers=[path], leases=[path]).refresh(NOW)


KEYS = (
    "Address ClientId HardwareAddress Hostname ExpirationRealtimeUSec expires ip mac hostname static host exp"
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=7) | st.dictionaries(st.sampled_from(KEYS.split()), inner),
    max_leaves=20,
)


@pytest.mark.parametrize("head", ['{"Leases": %s}', '{"leases": %s}', "%s"])
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(rows=st.lists(JSON, max_size=3))
def test_no_json_raises(tmp_path: Path, head: str, rows: list[object]) -> None:
    read(tmp_path, head % json.dumps(rows))
