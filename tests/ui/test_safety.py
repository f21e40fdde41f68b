"""Security: names from the network are shown as text, the page's policy holds, the token stays in its tab."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import scene
from pages import OpenView
from real_store import Netifyd
from support import Daemon, RedisServer, StandIn


def test_a_device_name_with_html_is_shown_as_text(network: Daemon, open_view: OpenView) -> None:
    page = open_view(network, "devices")
    link = page.get_by_role("link", name=scene.HTML_NAME, exact=True)
    link.wait_for()
    assert link.inner_text() == scene.HTML_NAME
    link.click()
    page.get_by_role("heading", level=1, name=scene.HTML_NAME).wait_for()
    assert page.title().startswith(scene.HTML_NAME)
    page.goto(f"{network.base}/ui/#/flows")
    page.get_by_role("option", name=scene.HTML_NAME).wait_for(state="attached")
    assert page.locator("img").count() == 0


def test_a_url_with_html_is_shown_as_text(network: Daemon, open_view: OpenView) -> None:
    page = open_view(network, f"nothing/{scene.HTML_NAME}")
    page.get_by_text("This page does not exist.").wait_for()
    page.goto(f"{network.base}/ui/#/flows?device=%3Cimg%20src%3Dx%3E")
    page.get_by_role("option", name="<img src=x>").wait_for(state="attached")
    assert page.locator("img").count() == 0
    open_view.expect_errors(page)  # the API answers 400


def test_the_content_security_policy_blocks_inline_scripts(network: Daemon, open_view: OpenView) -> None:
    page = open_view(network)
    page.evaluate(
        """() => {
            const script = document.createElement('script');
            script.textContent = 'window.injected = true';
            document.body.append(script);
        }"""
    )
    assert page.evaluate("window.injected") is None
    assert any("Content Security Policy" in problem for problem in open_view.log(page).problems)
    open_view.expect_errors(page)


TOKEN = "a-token-of-some-length-0123456789"


@contextmanager
def with_token(directory: Path, redis_server: RedisServer, netifyd: StandIn) -> Iterator[Daemon]:
    """A running agent whose API needs :data:`TOKEN`."""
    (directory / "tokens").write_text(f"# dashboard\n{TOKEN}\n")
    daemon = Daemon(directory, redis_server.url, f"unix://{netifyd.path}")
    daemon.settings["web"]["tokens_file"] = str(directory / "tokens")
    daemon.write_config()
    daemon.start()
    try:
        yield daemon
    finally:
        daemon.stop()


def test_no_time_out_fires_while_a_token_is_typed(
    directory: Path, redis_server: RedisServer, netifyd: StandIn, open_view: OpenView
) -> None:
    with with_token(directory, redis_server, netifyd) as daemon:
        page = open_view(daemon, "nothing")
        page.add_init_script(
            """const timeout = AbortSignal.timeout.bind(AbortSignal);
            window.timeouts = [];
            AbortSignal.timeout = (ms) => {
                const signal = timeout(window.typing === false ? ms : Math.min(ms, 300));
                window.timeouts.push(signal);
                return signal;
            };
            new MutationObserver(() => {
                if (document.querySelector('#banner:not([hidden])')) window.alarmed = true;
            }).observe(document, { subtree: true, attributes: true, childList: true });"""
        )
        page.goto(f"{daemon.base}/ui/#/devices")
        page.reload()
        page.get_by_role("dialog", name="Access token required").wait_for()
        page.wait_for_function("() => timeouts.length > 0 && timeouts.every((signal) => signal.aborted)")
        page.evaluate("window.typing = false")
        page.get_by_role("textbox", name="Access token").fill(TOKEN)
        page.keyboard.press("Enter")
        page.get_by_text("No devices yet").wait_for()
        assert page.evaluate("window.alarmed") is None
        open_view.expect_errors(page)  # the API answers 401 without a token


def test_a_csv_file_is_downloaded_with_the_token(
    directory: Path, redis_server: RedisServer, netifyd: StandIn, open_view: OpenView
) -> None:
    with with_token(directory, redis_server, netifyd) as daemon:
        records = Netifyd()
        netifyd.accept()
        scene.send(netifyd, records.flow("a"), records.stats("a", 1000, 5000))
        page = open_view(daemon, "devices")
        page.get_by_role("textbox", name="Access token").fill(TOKEN)
        page.keyboard.press("Enter")
        page.locator("tbody th").first.wait_for()
        with page.expect_download() as download:
            page.get_by_role("link", name="Download CSV").click()
        lines = Path(download.value.path()).read_text("utf-8").splitlines()
        assert download.value.suggested_filename == "usage.csv"
        assert [",1000,5000," in line for line in lines] == [False, True]
        # A token that is no longer valid is asked for again; then the download goes on.
        with page.expect_download() as download:
            page.evaluate(
                """() => {
                    sessionStorage.setItem('token', 'another-token-that-is-not-valid');
                    document.querySelector('.csv a').click();
                }"""
            )
            page.get_by_role("textbox", name="Access token").fill(TOKEN)
            page.keyboard.press("Enter")
        assert len(Path(download.value.path()).read_text("utf-8").splitlines()) == 2
        assert not any(TOKEN in url for url in open_view.log(page).urls)
        open_view.expect_errors(page)  # the API answers 401 without a valid token


def test_the_token_is_prompted_for_and_kept_in_its_tab(
    directory: Path, redis_server: RedisServer, netifyd: StandIn, open_view: OpenView
) -> None:
    with with_token(directory, redis_server, netifyd) as daemon:
        page = open_view(daemon, "devices")
        dialog = page.get_by_role("dialog", name="Access token required")
        dialog.wait_for()
        page.get_by_role("textbox", name="Access token").fill("wrong")
        page.get_by_role("button", name="Sign in").click()
        page.get_by_text("This token is not valid.").wait_for()
        page.get_by_role("textbox", name="Access token").fill(TOKEN)
        page.keyboard.press("Enter")
        page.get_by_text("No devices yet").wait_for()
        assert not dialog.is_visible()
        assert page.evaluate("sessionStorage.token") == TOKEN
        assert page.evaluate("[localStorage.length, document.cookie]") == [0, ""]
        assert not any(TOKEN in url for url in open_view.log(page).urls)
        page.reload()
        page.get_by_text("No devices yet").wait_for()
        open_view.expect_errors(page)  # the API answers 401 without a valid token
        other_tab = open_view(daemon, "devices")
        other_tab.get_by_role("dialog", name="Access token required").wait_for()
        open_view.expect_errors(other_tab)
