"""The files of the dashboard at a collector. What they do in a browser is tested by ``make test-ui``."""

from __future__ import annotations

import pytest
from collector_run import CollectorRun

PAGES = {"/ui/": "collector", "/gateways/gw1/ui/": "copy"}


@pytest.mark.parametrize(("path", "mark"), PAGES.items())
def test_the_page_needs_no_token_and_knows_what_it_is_of(
    collector: CollectorRun, path: str, mark: str
) -> None:
    status, body, headers = collector.exchange("GET", path, token="")
    assert status == 200
    assert f'<html data-at="{mark}" lang="en">'.encode() in body
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    status, body, headers = collector.exchange("GET", f"{path}app.js", token="")
    assert (status, headers["Content-Type"]) == (200, "text/javascript")
    etag = headers["ETag"]
    assert collector.exchange("GET", f"{path}app.js", token="", **{"If-None-Match": etag})[0] == 304
    assert collector.exchange("HEAD", path, token="")[:2] == (200, b"")
    assert collector.exchange("POST", path, token="")[0] == 405
    assert collector.exchange("GET", f"{path}../app.js", token="")[0] == 401


def test_the_page_does_not_tell_which_gateways_exist(collector: CollectorRun) -> None:
    known = collector.exchange("GET", "/gateways/gw1/ui/", token="")
    unknown = collector.exchange("GET", "/gateways/no-such/ui/", token="")
    assert known[:2] == unknown[:2]
    assert known[2]["ETag"] == unknown[2]["ETag"]


@pytest.mark.parametrize("path", ["/", "/gateways/gw1/"])
def test_a_browser_is_sent_to_the_page_and_a_program_is_not(collector: CollectorRun, path: str) -> None:
    status, _, headers = collector.exchange("GET", path, token="", Accept="text/html,*/*;q=0.8")
    assert (status, headers["Location"]) == (303, "ui/")
    for accept in ("*/*", "application/json", "text/html;q=0.5,application/json"):
        assert collector.exchange("GET", path, token="", Accept=accept)[0] == 401


def test_the_path_without_a_slash_leads_to_the_page(collector: CollectorRun) -> None:
    for path in ("/ui", "/gateways/gw1/ui"):
        status, _, headers = collector.exchange("GET", path, token="")
        assert (status, headers["Location"]) == (308, "ui/")
    assert collector.exchange("GET", "/gateways/gw1", token="", Accept="text/html")[0] == 401


def test_data_still_needs_a_token(collector: CollectorRun) -> None:
    for path in ("/gateways", "/gateways/gw1/usage", "/gateways/gw1/ui/secret", "/ui/secret"):
        assert collector.exchange("GET", path, token="")[0] == 401
