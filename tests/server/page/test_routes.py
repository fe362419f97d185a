"""GET / and /page/… over HTTP: for everybody, with their own policy."""

from __future__ import annotations

from pathlib import Path

import httpx
from api_keys import write_keys
from compositions import write_config
from server_live import Live, live_server


def test_the_page_is_there_and_its_policy_is_not_replaced(live: Live) -> None:
    page = httpx.get(live.url)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "<title>coe</title>" in page.text
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert page.headers["x-content-type-options"] == "nosniff"
    etag = page.headers["etag"]
    assert httpx.get(live.url, headers={"if-none-match": etag}).status_code == 304


def test_an_unknown_file_is_a_404_in_the_usual_shape(live: Live) -> None:
    response = httpx.get(f"{live.url}/page/nothing.js")
    assert (response.status_code, response.json()["error"]["code"]) == (404, "unknown_url")


def test_strangers_get_the_page_and_no_more(tmp_path: Path, llama_folder: Path) -> None:
    access = write_keys(tmp_path, ops="admin = true")
    with live_server(write_config(tmp_path, {"general": llama_folder}, access)) as keyed:
        assert httpx.get(f"{keyed.url}/page/main.js").status_code == 200
        assert httpx.get(f"{keyed.url}/page/nothing.js").status_code == 404
        assert httpx.get(f"{keyed.url}/pages").status_code == 401
