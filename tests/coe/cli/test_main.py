"""The command line as people run it: the console script, from any folder, with exit codes."""

from __future__ import annotations

import subprocess
import sys
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


def test_math_libraries_are_loaded_with_the_threads_that_the_process_may_use() -> None:
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); os.environ.pop('OMP_NUM_THREADS', None)\n"
        "import coe.cli; assert coe.cli.main(['config', 'check', '-c', 'nowhere.toml']) == 2\n"
        "import torch; print(torch.get_num_threads())"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "1\n"
