"""What the network says is text, whatever it says; and nothing leaves the gateway."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import scene
from playwright.sync_api import Page
from support import Daemon, RedisServer, StandIn

Look = Callable[..., Page]


def test_a_name_that_means_harm_is_shown_as_text(network: Daemon, look: Look) -> None:
    page = look(network, "devices")
    page.on("dialog", lambda dialog: page.watched.problems.append(dialog.message))  # type: ignore[attr-defined]
    link = page.get_by_role("link", name=scene.HARM, exact=True)
    link.wait_for()
    assert link.inner_text() == scene.HARM
    link.click()
    page.get_by_role("heading", level=1, name=scene.HARM).wait_for()
    assert page.title().startswith(scene.HARM)
    page.goto(f"{network.base}/ui/#/flows")
    page.get_by_role("option", name=scene.HARM).wait_for(state="attached")
    assert page.locator("img").count() == 0


def test_a_hash_that_means_harm_is_text_too(network: Daemon, look: Look) -> None:
    page = look(network, "nothing/<img src=x onerror=alert(1)>")
    page.get_by_text("There is no such view.").wait_for()
    page.goto(f"{network.base}/ui/#/flows?device=%3Cimg%20src%3Dx%3E")
    page.get_by_role("option", name="<img src=x>").wait_for(state="attached")
    assert page.locator("img").count() == 0
    page.watched.forgive()  # type: ignore[attr-defined]  # the API does not take such a device: 400


def test_the_policy_stops_what_is_inline(network: Daemon, look: Look) -> None:
    page = look(network)
    page.evaluate(
        """() => {
            const script = document.createElement('script');
            script.textContent = 'window.harmed = true';
            document.body.append(script);
        }"""
    )
    assert page.evaluate("window.harmed") is None
    problems = page.watched.problems  # type: ignore[attr-defined]
    assert any("Content Security Policy" in problem for problem in problems)
    problems.clear()


def test_the_token_is_asked_for_and_kept_for_the_tab_only(
    directory: Path, redis_server: RedisServer, netifyd: StandIn, look: Look
) -> None:
    token = "a-token-of-some-length-0123456789"
    (directory / "tokens").write_text(f"# dashboard\n{token}\n")
    daemon = Daemon(directory, redis_server.url, f"unix://{netifyd.path}")
    daemon.settings["web"]["tokens_file"] = str(directory / "tokens")
    daemon.write_config()
    daemon.start()
    try:
        page = look(daemon, "devices")
        dialog = page.get_by_role("dialog", name="This agent asks for a token")
        dialog.wait_for()
        page.get_by_role("textbox", name="Token").fill("wrong")
        page.get_by_role("button", name="Open the dashboard").click()
        page.get_by_text("The agent did not take that token.").wait_for()
        page.get_by_role("textbox", name="Token").fill(token)
        page.keyboard.press("Enter")
        page.get_by_text("No device has been seen yet.").wait_for()
        assert not dialog.is_visible()
        assert page.evaluate("sessionStorage.token") == token
        assert page.evaluate("[localStorage.length, document.cookie]") == [0, ""]
        assert not any(token in url for url in page.watched.requests)  # type: ignore[attr-defined]
        page.reload()
        page.get_by_text("No device has been seen yet.").wait_for()
        page.watched.forgive()  # type: ignore[attr-defined]  # the browser tells of each 401
        other = look(daemon, "devices")  # another tab knows nothing of it
        other.get_by_role("dialog", name="This agent asks for a token").wait_for()
        other.watched.forgive()  # type: ignore[attr-defined]
    finally:
        daemon.stop()
