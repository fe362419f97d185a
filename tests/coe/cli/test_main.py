"""The command line as people run it: the console script, from any folder, with exit codes."""

from __future__ import annotations

from pathlib import Path

from compositions import write_config
from console import coe


def test_works_from_a_folder_with_other_modules_of_our_names(tmp_path: Path, llama_folder: Path) -> None:
    for name in ("server.py", "router.py", "coe.py"):
        (tmp_path / name).write_text("raise SystemExit('the wrong module was imported')\n")
    write_config(tmp_path, {"general": llama_folder})
    done = coe("route", "hello", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "expert    general" in done.stdout


def test_bad_configuration_exits_with_2_and_names_the_key(tmp_path: Path, llama_folder: Path) -> None:
    file = write_config(tmp_path, {"general": llama_folder}, "[cache2]\nhost_byte = 1")
    for command in (("config", "check"), ("serve",), ("route", "hi"), ("bench", "switch"), ("bench", "engine")):
        done = coe(*command, "-c", str(file))
        assert done.returncode == 2
        assert "cache2" in done.stderr
        assert "Traceback" not in done.stderr
