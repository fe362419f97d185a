"""The command line, run as people run it: the console script, from any folder, with exit codes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from compositions import write_config
from server_live import Live

COE = Path(sys.executable).with_name("coe")


def coe(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(COE), *words], cwd=cwd, capture_output=True, text=True, check=False, env=dict(os.environ)
    )


def test_works_from_a_folder_with_somebodys_own_server_and_router(tmp_path: Path, llama_folder: Path) -> None:
    for name in ("server.py", "router.py", "coe.py"):
        (tmp_path / name).write_text("raise SystemExit('the wrong module was imported')\n")
    write_config(tmp_path, {"general": llama_folder})
    done = coe("route", "hello", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "expert    general" in done.stdout


def test_router_commands_are_the_routers_own_and_refuse_bad_input_with_2() -> None:
    assert coe("-v", "router", "explain", "Write a Python function").stdout.splitlines()[0].startswith("code")
    done = coe("router", "evaluate", "/no/such/prompts.jsonl")
    assert done.returncode == 2
    assert "/no/such/prompts.jsonl" in done.stderr
    assert "Traceback" not in done.stderr


def test_config_check_describes_a_good_configuration(tmp_path: Path, llama_folder: Path) -> None:
    done = coe("config", "check", "-c", str(write_config(tmp_path, {"general": llama_folder})))
    assert done.returncode == 0
    assert "general" in done.stdout


def test_bad_configuration_exits_with_2_and_names_the_key(tmp_path: Path, llama_folder: Path) -> None:
    file = write_config(tmp_path, {"general": llama_folder}, "[cache2]\nhost_byte = 1")
    for command in (("config", "check"), ("serve",), ("route", "hi"), ("bench", "switch")):
        done = coe(*command, "-c", str(file))
        assert done.returncode == 2
        assert "cache2" in done.stderr
        assert "Traceback" not in done.stderr


def test_experts_without_a_server_says_what_to_do() -> None:
    done = coe("experts", "--url", "http://127.0.0.1:9")
    assert done.returncode == 1
    assert "coe serve" in done.stderr
    assert "Traceback" not in done.stderr


def test_verify_finds_a_corrupt_unit_and_the_next_import_mends_it(tmp_path: Path, llama_folder: Path) -> None:
    config = str(write_config(tmp_path, {"general": llama_folder}))
    assert coe("experts", "verify", "-c", config).returncode == 0
    unit = max((tmp_path / "store" / "units").rglob("*"), key=lambda path: path.stat().st_size if path.is_file() else 0)
    unit.write_bytes(bytes(unit.stat().st_size))
    found = coe("experts", "verify", "-c", config)
    assert found.returncode == 1
    assert "BAD" in found.stdout
    assert coe("experts", "verify", "-c", config).returncode == 0


def test_gc_frees_what_no_expert_needs(tmp_path: Path, llama_folder: Path, other_llama_folder: Path) -> None:
    both = str(write_config(tmp_path, {"general": llama_folder, "other": other_llama_folder}))
    assert coe("experts", "verify", "-c", both).returncode == 0
    before = sum(path.stat().st_size for path in (tmp_path / "store").rglob("*") if path.is_file())
    one = str(write_config(tmp_path, {"general": llama_folder}))
    assert coe("experts", "gc", "-c", one).returncode == 0
    after = sum(path.stat().st_size for path in (tmp_path / "store").rglob("*") if path.is_file())
    assert after < before
    assert coe("experts", "verify", "-c", one).returncode == 0


@pytest.mark.parametrize("word", ["general", "other"])
def test_experts_shows_tier_bytes_pins_and_last_use(live: Live, word: str) -> None:
    done = coe("experts", "--url", live.url)
    assert done.returncode == 0, done.stderr
    assert word in done.stdout
    for head in ("tier", "bytes", "pin", "last used"):
        assert head in done.stdout.splitlines()[0]


def test_experts_can_be_loaded_pinned_and_freed_and_each_unit_is_shown(live: Live) -> None:
    loaded = coe("experts", "load", "other", "--url", live.url)
    assert loaded.returncode == 0, loaded.stderr
    assert "5 device" in loaded.stdout
    assert " yes " in coe("experts", "pin", "other", "--url", live.url).stdout
    assert " yes " not in coe("experts", "unpin", "other", "--url", live.url).stdout
    assert "5 disk" in coe("experts", "unload", "other", "--url", live.url).stdout
    assert "store: 0.00 GiB in" in coe("experts", "--url", live.url).stdout
    assert coe("experts", "load", "nobody", "--url", live.url).returncode == 1
