"""Opens views of the dashboard in Chromium and records what goes wrong in them."""

from __future__ import annotations

from dataclasses import dataclass, field

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Dialog, Page
from support import Daemon

#: URL hash of each view; the device is of the simulated home.
VIEWS = {
    "overview": "",
    "usage": "usage",
    "devices": "devices",
    "device": "devices/e8:5b:5b:31:7a:02",
    "applications": "applications",
    "application": "applications/netify.netflix",
    "flows": "activity",
    "risks": "activity/risks",
    "alerts": "alerts",
}
#: Selector of an element that exists only in this view, once its data is loaded.
LOADED = {
    "overview": ".ranking li",
    "usage": ".usage .sheet tbody th",
    "devices": "td.curve svg",
    "device": ".identity ~ .page-content .flows tbody th",
    "applications": "td.users .links",
    "application": ".page:not(:has(.identity)) .crumb ~ .page-content tbody th",
    "flows": ".page > .sheet .flows tbody th",
    "risks": ".note ~ .page-content .risks li",
    "alerts": ".page:has(h1:text-is('Alerts')) .panel:last-child tbody th",
}


def address(page: Page) -> str:
    """The address as the browser has it now. ``page.url`` is the latest that Playwright was told of."""
    return str(page.evaluate("location.href"))


def wait_until_loaded(page: Page, view: str) -> None:
    page.locator(LOADED[view]).first.wait_for(state="attached")
    page.locator("#health[data-state=ok]").wait_for()


@dataclass
class Log:
    """What happened in one page.

    :ivar origin: the agent's origin.
    :ivar problems: console errors and warnings, dialogs, and uncaught exceptions.
    :ivar urls: all URLs requested.
    """

    origin: str
    problems: list[str] = field(default_factory=list)
    urls: list[str] = field(default_factory=list)


class OpenView:
    """Opens views: ``open_view(daemon, "devices", width=375, scheme="dark")``."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._contexts: list[BrowserContext] = []
        self._logs: dict[Page, Log] = {}

    def __call__(self, daemon: Daemon, view: str = "", width: int = 1280, scheme: str = "light") -> Page:
        context = self._browser.new_context(
            viewport={"width": width, "height": 812 if width < 600 else 900},
            color_scheme=scheme,  # type: ignore[arg-type]
            timezone_id="Europe/Berlin",
        )
        context.set_default_timeout(20_000)
        self._contexts.append(context)
        page = context.new_page()
        self._watch(page, daemon.base)
        page.goto(f"{daemon.base}/ui/#/{view}")
        return page

    def _watch(self, page: Page, origin: str) -> None:
        log = self._logs[page] = Log(origin)

        def on_console(message: ConsoleMessage) -> None:
            if message.type in ("error", "warning"):
                log.problems.append(f"{message.text} {message.location}")

        def on_dialog(dialog: Dialog) -> None:
            log.problems.append(f"dialog: {dialog.message}")
            dialog.dismiss()

        page.on("console", on_console)
        page.on("pageerror", lambda error: log.problems.append(str(error)))
        page.on("dialog", on_dialog)
        page.on("request", lambda request: log.urls.append(request.url))

    def log(self, page: Page) -> Log:
        return self._logs[page]

    def expect_errors(self, page: Page) -> None:
        """Close the page and discard its problems: Chromium logs each response with an error status."""
        page.close()
        self._logs[page].problems.clear()

    def check(self) -> None:
        """Close all pages. Fails if a page logged a problem or requested another origin."""
        for context in self._contexts:
            context.close()
        for log in self._logs.values():
            assert log.problems == [], log.problems
            elsewhere = [url for url in log.urls if not url.startswith(log.origin + "/")]
            assert elsewhere == [], elsewhere
