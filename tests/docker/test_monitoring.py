"""The dashboard shows something: every query of it, asked of a real Prometheus that scrapes a live server, has series.

Skips where there is no Prometheus. Covered: the scrape configuration and the queries. Not covered: Grafana itself.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from compositions import write_config
from server_live import Live, live_server, post
from waits import until

DOCKER = Path(__file__).parents[2] / "docker"
MONITORING = DOCKER / "monitoring"
DASHBOARD = json.loads((MONITORING / "dashboards" / "coe.json").read_text())
SCRAPE = yaml.safe_load((MONITORING / "prometheus.yml").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
QUERIES = sorted({target["expr"] for panel in PANELS for target in panel["targets"]})


def test_the_services_of_the_profile_find_their_files_and_each_other() -> None:
    services = yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"]
    assert [name for name, service in services.items() if "monitoring" in service.get("profiles", ())] == [
        "prometheus",
        "grafana",
    ]
    for name in ("prometheus", "grafana"):
        for volume in services[name]["volumes"]:
            source = volume.split(":")[0]
            assert not source.startswith(".") or (DOCKER / source).exists(), volume
    (source,) = yaml.safe_load((MONITORING / "provisioning/datasources/prometheus.yaml").read_text())["datasources"]
    targets = [target for panel in PANELS for target in panel["targets"]]
    assert {each["datasource"]["uid"] for each in (*PANELS, *targets)} == {source["uid"]}
    assert SCRAPE["scrape_configs"][0]["static_configs"][0]["targets"] == ["localhost:8000"]
    assert services["prometheus"]["network_mode"] == "service:coe"


def test_panels_do_not_lie_on_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory, llama_folder: Path, other_llama_folder: Path) -> Iterator[Live]:
    experts = {"general": llama_folder, "other": other_llama_folder}
    with live_server(write_config(tmp_path_factory.mktemp("watched"), experts)) as server:
        yield server


@pytest.fixture(scope="module")
def prometheus(live: Live, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Prometheus with the profile's own configuration, but for the port and the rate; its URL."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("no prometheus (Debian: apt-get install prometheus)")
    folder = tmp_path_factory.mktemp("prometheus")
    job = {**SCRAPE["scrape_configs"][0], "static_configs": [{"targets": [live.url.removeprefix("http://")]}]}
    settings = {**SCRAPE, "global": {"scrape_interval": "1s"}, "scrape_configs": [job]}
    (folder / "prometheus.yml").write_text(yaml.safe_dump(settings))
    url = f"127.0.0.1:{free_port()}"
    options = [f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'series'}"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([program, *options, f"--web.listen-address={url}"], stdout=log, stderr=log)
    try:
        until(lambda: _is_up(url), "Prometheus has scraped the server")
        yield f"http://{url}"
    finally:
        process.terminate()
        process.wait(30)


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def _is_up(url: str) -> bool:
    try:
        return [sample["value"][1] for sample in asked(f"http://{url}", 'up{job="coe"}')] == ["1"]
    except httpx.HTTPError:
        return False


def asked(prometheus: str, query: str) -> list[dict[str, Any]]:
    answer = httpx.get(f"{prometheus}/api/v1/query", params={"query": query}, timeout=30).json()
    assert answer["status"] == "success", answer
    found: list[dict[str, Any]] = answer["data"]["result"]
    return found


def use(live: Live) -> None:
    """What makes every series: answers of both experts, a load, an unload."""
    for expert in ("general", "other"):
        body = {"model": expert, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 4}
        assert post(live, "/v1/chat/completions", body).status_code == 200
    post(live, "/admin/experts/other/unload", {})


def test_every_query_of_the_dashboard_has_series(live: Live, prometheus: str) -> None:
    left = set(QUERIES)

    def have_all() -> bool:
        use(live)
        for query in sorted(left):
            if asked(prometheus, query.replace("$__rate_interval", "30s").replace("$expert", ".*")):
                left.discard(query)
        return not left

    try:
        until(have_all, "every query has series")
    finally:
        assert left == set()


def test_the_variable_names_the_experts(prometheus: str) -> None:
    (variable,) = DASHBOARD["templating"]["list"]
    assert variable["query"]["query"] == "label_values(coe_queued_requests, expert)"
    found = {sample["metric"]["expert"] for sample in asked(prometheus, "coe_queued_requests")}
    assert found == {"general", "other"}
