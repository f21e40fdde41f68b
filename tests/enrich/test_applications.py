from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from netify_agent.enrich.applications import BUILT_IN_CATEGORIES, Categories, display_name


@pytest.mark.parametrize(
    ("tag", "name"),
    [
        ("netify.google-ads", "Google Ads"),
        ("netify.netflix", "Netflix"),
        ("netify.youtube", "YouTube"),
        ("netify.amazon-aws", "Amazon AWS"),
        ("netify.apple-icloud", "Apple iCloud"),
        ("netify.icloud-private-relay", "iCloud Private Relay"),
        ("netify.reverse-dns", "Reverse DNS"),
        ("netify.samsung-tv", "Samsung TV"),
        ("netify.office-365", "Office 365"),
        ("netify.f-secure", "F-Secure"),
        ("netify.disney-plus", "Disney+"),
        ("netify.lets-encrypt", "Let's Encrypt"),
        ("netify.bank-of-america", "Bank of America"),
        ("Unknown", "Unknown"),
        ("custom.my-app", "custom.my-app"),
        ("netify.", "netify."),
        ("netify.-", "netify.-"),
        ("", ""),
    ],
)
def test_a_tag_is_shown_as_people_write_it(tag: str, name: str) -> None:
    assert display_name(tag) == name


BRANDS = "eBay TikTok iTunes CNN BBC PlayStation LinkedIn WhatsApp GitHub GitLab macOS DNS NTP"


@pytest.mark.parametrize("brand", BRANDS.split())
def test_brands_keep_their_capitals(brand: str) -> None:
    assert display_name(f"netify.{brand.lower()}") == brand


INDEXED = {
    "application_tag_index": {"streaming-media": 29, "my-own": 77, "unknown": 0, "odd": "x"},
    "application_index": [[29, [133, 10119]], [77, [1]]],
    "protocol_tag_index": {"base": 1},
    "protocol_index": [[1, [121]]],
}


def categories(tmp_path: Path, content: object) -> Categories:
    path = tmp_path / "netify-categories.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return Categories(str(path))


def test_netifyds_own_file_names_the_categories(tmp_path: Path) -> None:
    found = categories(tmp_path, INDEXED)
    assert found.category_name(29) == "streaming-media"
    assert found.category_name(77) == "my-own"


def test_zero_and_unknown_ids_have_no_name(tmp_path: Path) -> None:
    found = categories(tmp_path, INDEXED)
    assert found.category_name(0) is None
    assert found.category_name(3) is None
    assert Categories(str(tmp_path / "none")).category_name(0) is None


def test_the_older_form_is_numbered_as_netifyd_numbers_it(tmp_path: Path) -> None:
    found = categories(
        tmp_path, {"last_update": 1, "application_index": {"games": [5], "cdn": [7, 8], "x": 3}}
    )
    assert [found.category_name(i) for i in (1, 2, 3)] == ["cdn", "games", None]


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"application_index": 3}', "[" * 100_000])
def test_a_broken_file_leaves_the_built_in_names(tmp_path: Path, content: str) -> None:
    assert categories(tmp_path, content).category_name(29) == "streaming-media"


def test_a_missing_file_leaves_the_built_in_names(tmp_path: Path) -> None:
    found = Categories(str(tmp_path / "none"))
    assert {i: found.category_name(i) for i in BUILT_IN_CATEGORIES} == BUILT_IN_CATEGORIES


def test_an_enormous_file_is_not_read(tmp_path: Path) -> None:
    found = categories(tmp_path, json.dumps(INDEXED) + " " * (3 * 1024 * 1024))
    assert found.category_name(77) is None


def test_a_changed_file_is_read_again_and_told_of(tmp_path: Path) -> None:
    found = categories(tmp_path, INDEXED)
    assert not found.refresh()
    new = tmp_path / "new"
    new.write_text(json.dumps({"application_tag_index": {"renamed": 77}}))
    os.replace(new, tmp_path / "netify-categories.json")
    assert found.refresh()
    assert found.category_name(77) == "renamed"
    (tmp_path / "netify-categories.json").unlink()
    assert found.refresh()
    assert found.category_name(29) == "streaming-media"
    assert not found.refresh()
