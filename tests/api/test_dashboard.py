"""The dashboard's files as HTTP serves them. What they do in a browser is tested by ``make test-ui``."""

from __future__ import annotations

import gzip
import posixpath
import re

import pytest
from api_server import Scene, assert_problem

from netify_agent.api.routes import dashboard

FILES = {name: dashboard.DIRECTORY / name for name in ("index.html", *dashboard.file_names())}
KINDS = {"html": "text/html", "js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
SCRIPTS = sorted(name for name in FILES if name.endswith(".js"))


@pytest.mark.parametrize("name", sorted(set(FILES) - {"index.html"}))
def test_each_file_is_served_as_what_it_is(scene: Scene, name: str) -> None:
    answer = scene.ask(f"/ui/{name}")
    assert (answer.status, answer.body) == (200, FILES[name].read_bytes())
    assert answer.headers["Content-Type"] == KINDS[name.rpartition(".")[2]]


def test_the_directory_is_the_page(scene: Scene) -> None:
    assert scene.ask("/ui/").body == FILES["index.html"].read_bytes()
    answer = scene.ask("/ui")
    assert (answer.status, answer.headers["Location"]) == (308, "ui/")


@pytest.mark.parametrize(
    "path",
    [
        "/ui/none.js",
        "/ui/../config.py",
        "/ui/%2e%2e/config.py",
        "/ui/..%2fconfig.py",
        "/ui//etc/passwd",
        "/ui/index.html/",
        "/ui/app.js%00",
        "/ui/APP.JS",
    ],
)
def test_a_path_can_name_no_other_file(scene: Scene, path: str) -> None:
    assert_problem(scene.ask(path), 404)


@pytest.mark.parametrize("path", ["/ui/", "/ui/app.js", "/ui/style.css", "/ui/icon.svg"])
def test_every_file_comes_under_a_strict_policy(scene: Scene, path: str) -> None:
    headers = scene.ask(path).headers
    policy = dict(part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";"))
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self'",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"


def test_a_file_is_sent_once_and_packed(scene: Scene) -> None:
    plain = scene.ask("/ui/app.js")
    packed = scene.ask("/ui/app.js", Accept_Encoding="gzip, br")
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.body) == plain.body
    assert packed.headers["ETag"] != plain.headers["ETag"]
    for answer, encoding in ((plain, "identity"), (packed, "gzip")):
        again = scene.ask("/ui/app.js", Accept_Encoding=encoding, If_None_Match=answer.headers["ETag"])
        assert (again.status, again.body) == (304, b"")
    assert plain.headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", 303),  # Firefox, Chromium
        ("text/html", 303),
        ("*/*", 200),  # curl
        ("application/json", 200),
        ("application/json, text/html;q=0.5", 200),
        ("text/html;q=0.2, */*", 200),
    ],
)
def test_a_browser_that_asks_for_the_root_is_sent_to_the_dashboard(
    scene: Scene, accept: str, status: int
) -> None:
    answer = scene.ask("/", Accept=accept)
    assert answer.status == status
    assert "Accept" in answer.headers["Vary"]
    if status == 303:
        assert answer.headers["Location"] == "ui/"  # relative: a proxy may add a prefix
    else:
        assert answer.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("name", sorted(FILES))
def test_nothing_is_parsed_as_html_and_nothing_comes_from_elsewhere(name: str) -> None:
    text = FILES[name].read_text()
    danger = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|srcdoc|\beval\b|new Function"
    assert not re.search(danger, text)
    # Only the choice of a theme outlives the tab.
    lasting = re.findall(r"(?:localStorage|document\.cookie|indexedDB)[^;\s]*", text)
    assert all(name == "theme.js" and "('theme'" in use for use in lasting)
    assert not re.search(r"\bstyle=|\son\w+=\"", text)  # the policy forbids them inline
    hosts = set(re.findall(r"https?://([^/\"' ]+)", text)) | set(re.findall(r"[\"'(]//([^/\"' ]+)", text))
    assert hosts <= {"www.w3.org"}  # names of namespaces


def resolved(name: str, path: str) -> str:
    """The file that the file ``name`` means by a relative path."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(name), path))


@pytest.mark.parametrize("name", [*SCRIPTS, "index.html"])
def test_every_file_that_is_asked_for_is_there(name: str) -> None:
    text = FILES[name].read_text()
    wanted = [resolved(name, path) for path in re.findall(r"(?:from |import\()'([^']+)'", text)]
    wanted += re.findall(r"(?:src|href)=\"([a-z_/]+\.\w+)\"", text)
    assert set(wanted) <= set(FILES)


def test_the_first_view_is_loaded_in_one_go() -> None:
    """Modules that import modules would be asked for one after the other: the page names them all."""

    def imports(name: str) -> set[str]:
        found = {resolved(name, path) for path in re.findall(r"from '([^']+)'", FILES[name].read_text())}
        return found.union(*(imports(one) for one in found))

    named = set(re.findall(r"modulepreload\" href=\"([^\"]+)\"", FILES["index.html"].read_text()))
    assert named == imports("app.js")


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_name_that_is_imported_is_exported_and_used(name: str) -> None:
    text = FILES[name].read_text()
    found = re.findall(r"^import \{([^}]*)\} from '([^']+)';", text, re.MULTILINE)
    assert len(found) == len(re.findall(r"^import ", text, re.MULTILINE))
    for names, path in found:
        exports = FILES[resolved(name, path)].read_text()
        for one in re.findall(r"\w+", names):
            assert re.search(
                rf"^export (?:async )?(?:function|class|const) {one}\b", exports, re.MULTILINE
            ), one
            assert len(re.findall(rf"\b{one}\b", re.sub(r"//.*|/\*.*?\*/", "", text))) > 1, (
                f"{one} is not used"
            )
