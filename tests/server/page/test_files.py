"""The page's files: types, policy, what a browser keeps, and that nothing in them is from elsewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from starlette.responses import Response

from server.page.files import STATIC, page_answer

OURS = [path for path in STATIC.rglob("*") if path.is_file() and path.parent.name != "vendor"]


def answer(path: str, known: str = "") -> Response:
    found = page_answer(path, known)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/", "text/html"),
        ("/page/main.js", "text/javascript"),
        ("/page/style.css", "text/css"),
        ("/page/icon.svg", "image/svg+xml"),
        ("/page/vendor/marked.LICENSE", "text/plain"),
    ],
)
def test_each_file_has_its_type_and_the_policy(path: str, content_type: str) -> None:
    headers = answer(path).headers
    assert headers["content-type"].startswith(content_type)
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy


def test_a_browser_asks_each_time_and_is_told_that_nothing_has_changed() -> None:
    first = answer("/page/main.js")
    assert first.headers["cache-control"] == "no-cache"
    again = answer("/page/main.js", f"W/{first.headers['etag']}")
    assert (again.status_code, again.body) == (304, b"")
    assert answer("/page/main.js", '"another"').status_code == 200


@pytest.mark.parametrize(
    "path", ["/page/", "/page/nothing.js", "/page/../files.py", "/page/%2e%2e/files.py", "/page/index.html"]
)
def test_what_is_no_file_of_the_page_is_not_there(path: str) -> None:
    assert page_answer(path) is None


def test_every_vendored_library_has_its_licence() -> None:
    names = {path.stem for path in (STATIC / "vendor").glob("*.js")}
    assert names == {path.stem for path in (STATIC / "vendor").glob("*.LICENSE")}
    assert names


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.name)
def test_our_files_name_no_other_host_and_are_small_modules_with_a_head(path: Path) -> None:
    text = path.read_text()
    assert set(re.findall(r"https?://[\w.]+", text)) <= {"http://www.w3.org"}  # the name of SVG, which nobody fetches
    assert len(text.splitlines()) <= 300
    if path.suffix in {".js", ".css"}:
        assert text.startswith("/* ")


def test_what_a_module_imports_is_there() -> None:
    for path in OURS:
        for name in re.findall(r'^import .*from "(.+)";$', path.read_text(), re.MULTILINE):
            assert (path.parent / name).is_file(), f"{path.name}: {name}"
