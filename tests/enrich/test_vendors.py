from __future__ import annotations

import os
from pathlib import Path
from unittest.mock import Mock

import pytest

from netify_agent.enrich.vendors import CACHE_SIZE, VendorRegistry

HEADER = "Registry,Assignment,Organization Name,Organization Address\n"
DEBIAN = "/usr/share/ieee-data"


@pytest.fixture
def registry(tmp_path: Path) -> VendorRegistry:
    (tmp_path / "oui.csv").write_text(
        HEADER
        + "MA-L,002272,American Micro-Fuel Device Corp.,2181 Buchanan Loop Ferndale\n"
        + "MA-L,70B3D5,IEEE Registration Authority,445 Hoes Lane\n"
        + 'MA-L,0055DA,"Quoted, Inc.","Street 1, Town"\n'
        + 'MA-L,00AABB,"The ""Best"" Ltd","An address\nover lines, 00CCDD,Nobody,x"\n'
        + "MA-L,00EEFF,Private,\n"
        + "MA-L,020701,Old Locally Administered Co,\n"
    )
    (tmp_path / "mam.csv").write_text(HEADER + "MA-M,0055DA1,Medium Block GmbH,\nMA-M,0055DA2,Private,\n")
    (tmp_path / "oui36.csv").write_text(HEADER + "MA-S,70B3D5F2F,  TELE  PLATFORMS\t,Moscow\n")
    (tmp_path / "iab.csv").write_text(HEADER + "IAB,0055DA1AB,Small Block AG,\n")
    return VendorRegistry(str(tmp_path))


def vendor(registry: VendorRegistry, mac: str) -> str | None:
    return registry.lookup([mac])[mac]


def test_a_24_bit_block_names_its_vendor(registry: VendorRegistry) -> None:
    assert vendor(registry, "00:22:72:01:02:03") == "American Micro-Fuel Device Corp."


def test_the_longest_prefix_wins(registry: VendorRegistry) -> None:
    assert registry.lookup(["00:55:da:00:00:01", "00:55:da:10:00:01", "00:55:da:1a:b0:01"]) == {
        "00:55:da:00:00:01": "Quoted, Inc.",
        "00:55:da:10:00:01": "Medium Block GmbH",
        "00:55:da:1a:b0:01": "Small Block AG",
    }


def test_quotes_and_spaces_of_the_csv_do_not_show(registry: VendorRegistry) -> None:
    assert vendor(registry, "00:aa:bb:00:00:01") == 'The "Best" Ltd'
    assert vendor(registry, "70:b3:d5:f2:f0:01") == "TELE PLATFORMS"


def test_a_private_registrant_and_the_authority_itself_are_no_vendor(registry: VendorRegistry) -> None:
    assert vendor(registry, "00:ee:ff:00:00:01") is None
    assert vendor(registry, "70:b3:d5:00:00:01") is None


def test_a_private_small_block_does_not_fall_back_to_the_large_one(registry: VendorRegistry) -> None:
    assert vendor(registry, "00:55:da:20:00:01") is None


@pytest.mark.parametrize(
    "mac", ["02:07:01:00:00:01", "01:22:72:01:02:03", "00:00:00:00:00:00", "10.0.0.1", "", "00:22:72"]
)
def test_what_is_no_universal_unicast_mac_has_no_vendor(registry: VendorRegistry, mac: str) -> None:
    assert vendor(registry, mac) is None


def test_other_spellings_of_a_mac_are_understood(registry: VendorRegistry) -> None:
    assert vendor(registry, "00-22-72-AA-BB-CC") == "American Micro-Fuel Device Corp."


def test_no_directory_means_no_vendors_and_no_error(tmp_path: Path) -> None:
    assert vendor(VendorRegistry(str(tmp_path / "none")), "00:22:72:01:02:03") is None


def test_garbage_lines_cost_only_themselves(tmp_path: Path) -> None:
    (tmp_path / "oui.csv").write_bytes(
        b"\xff\xfe\x00\n,,,\nMA-L,002272\nMA-L,002272,bad \x00 name,\n"
        + b"x" * 200_000
        + b'\nMA-L,002273,"unclosed\nMA-L,002274,Good Ltd,\nMA-L,002275,Bj\xf6rk,\n'
    )
    answers = VendorRegistry(str(tmp_path)).lookup(
        ["00:22:72:00:00:01", "00:22:74:00:00:01", "00:22:75:00:00:01"]
    )
    assert answers["00:22:72:00:00:01"] is None
    assert answers["00:22:74:00:00:01"] == "Good Ltd"
    assert answers["00:22:75:00:00:01"] == "Bj\ufffdrk"


def test_directories_and_fifos_in_place_of_files_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "oui.csv").mkdir()
    os.mkfifo(tmp_path / "mam.csv")
    assert vendor(VendorRegistry(str(tmp_path)), "00:22:72:00:00:01") is None


def test_an_unreadable_registry_costs_its_vendors_and_a_warning(
    registry: VendorRegistry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def denied(path: str, mode: str) -> None:
        # Root may read everything, so the refusal is the one thing here that is not real.
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("builtins.open", denied)
    assert vendor(registry, "00:22:72:01:02:03") is None
    assert "oui.csv: Permission denied" in caplog.text


def test_an_upgraded_registry_is_read_again(tmp_path: Path, registry: VendorRegistry) -> None:
    assert vendor(registry, "00:99:99:00:00:01") is None
    (tmp_path / "oui.csv.new").write_text(HEADER + "MA-L,009999,New Vendor,\n")
    os.replace(tmp_path / "oui.csv.new", tmp_path / "oui.csv")
    assert vendor(registry, "00:99:99:00:00:01") == "New Vendor"


def test_known_answers_cost_no_second_scan(registry: VendorRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    first = vendor(registry, "00:22:72:01:02:03")
    monkeypatch.setattr("builtins.open", lambda *_: pytest.fail("the registry was read again"))
    assert vendor(registry, "00:22:72:01:02:03") == first == "American Micro-Fuel Device Corp."


def test_the_cache_holds_no_more_than_its_size_or_the_last_batch(
    registry: VendorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, *others = (f"00:22:72:00:{i >> 8:02x}:{i & 255:02x}" for i in range(CACHE_SIZE + 1))
    registry.lookup([first, *others])
    last = registry.lookup(["00:22:72:ff:ff:ff"])
    monkeypatch.setattr("builtins.open", Mock(side_effect=LookupError))
    assert registry.lookup(["00:22:72:ff:ff:ff"]) == last
    with pytest.raises(LookupError):
        registry.lookup([first])


@pytest.mark.skipif(not os.path.exists(f"{DEBIAN}/oui.csv"), reason="needs the ieee-data package")
def test_the_packaged_registry_is_understood() -> None:
    answers = VendorRegistry(DEBIAN).lookup(["00:00:0c:01:02:03", "00:50:c2:7d:51:11"])
    assert answers["00:00:0c:01:02:03"] == "Cisco Systems, Inc"
    assert answers["00:50:c2:7d:51:11"] == "DEUTA-WERKE GmbH"
