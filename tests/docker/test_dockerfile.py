"""What the images promise, read from the Dockerfile: no engine runs in the tests."""

from __future__ import annotations

import re
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "docker"
DOCKERFILE = (FOLDER / "Dockerfile").read_text()


def stages() -> dict[str, str]:
    parts = re.split(r"^FROM \S+ AS (\w+)$", DOCKERFILE, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_both_targets_serve_as_a_plain_user_with_health_check_and_cache_volume() -> None:
    for name in ("cpu", "cuda"):
        stage = stages()[name]
        assert re.search(r"^USER coe$", stage, re.MULTILINE)
        assert stage.index("USER coe") < stage.index("CMD")
        assert re.search(r"^HEALTHCHECK ", stage, re.MULTILINE)
        assert re.search(r"^VOLUME /cache$", stage, re.MULTILINE)
        assert "coe serve" in stage
        assert "--constraint constraints.txt" in stage


def test_no_base_image_floats() -> None:
    assert ":latest" not in DOCKERFILE
    assert re.search(r"^ARG PYTHON_IMAGE=python:3\.\d+-", DOCKERFILE, re.MULTILINE)


def test_everything_copied_exists() -> None:
    root = Path(__file__).parents[2]
    for line in re.findall(r"^COPY (.+)$", DOCKERFILE, re.MULTILINE):
        for source in line.split()[:-1]:
            assert (root / source).exists(), source


def test_a_container_is_open_to_others_only_where_that_is_said() -> None:
    """`coe serve` refuses an address beyond loopback without keys; compose publishes the port to this machine alone."""
    commands = re.findall(r"^CMD .*coe serve.*$", DOCKERFILE, re.MULTILINE)
    assert len(commands) == 2
    assert all("--host 0.0.0.0 ${COE_OPEN:+--open}" in command for command in commands)
    assert not re.search(r"^ENV .*COE_(OPEN|KEYS)", DOCKERFILE, re.MULTILINE)
    compose = (FOLDER / "compose.yaml").read_text()
    assert 'COE_OPEN: "1"' in compose
    assert re.findall(r'^ +- "(.*8000:8000)"', compose, re.MULTILINE) == ["127.0.0.1:8000:8000"]
