"""A system without Linux's own calls serves by plain means: the same tokens from the store and from the originals.

The system is this one with what macOS lacks taken away, in a process of its own: os and mmap attributes before anything
is imported, and every file of /proc and /sys.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from compositions import ask, with_runtime, write_config

from coe.runtime import Runtime

SUPPORT = Path(__file__).parents[1] / "support"
PROMPT = "The quick brown fox"
PLAIN = """
import builtins, io, json, mmap, os, sys
for name in ("preadv", "pwritev", "posix_fadvise", "posix_fallocate", "memfd_create", "fdatasync", "statvfs"):
    if hasattr(os, name):
        delattr(os, name)
for name in [name for name in vars(os) if name.startswith(("RWF_", "O_DIRECT", "POSIX_FADV", "sched_", "MFD_"))]:
    delattr(os, name)
for name in [name for name in vars(mmap) if "HUGEPAGE" in name or name in ("MAP_NORESERVE", "MAP_POPULATE")]:
    delattr(mmap, name)

is_linux = lambda path: isinstance(path, (str, os.PathLike)) and os.fspath(path).startswith(("/proc", "/sys"))
absent = lambda path: FileNotFoundError(2, "No such file or directory", path)
stat = os.stat
def macs_stat(path, **options):
    if is_linux(path):
        raise absent(path)
    return stat(path, **options)
os.stat = macs_stat
def audit(event, arguments):
    if event == "open" and is_linux(arguments[0]):
        raise absent(arguments[0])
sys.addaudithook(audit)

import compositions
from compositions import ask, with_runtime
from coe.machine.record import this_machine
from pathlib import Path
this_machine()
compositions.check_kv_pages = lambda engine: None  # reads /proc
tokens = [with_runtime(Path(file), lambda runtime: ask(runtime, "general", sys.argv[1], 12)) for file in sys.argv[2:]]
print(json.dumps(tokens))
"""


def test_a_system_without_linux_calls_gives_the_same_tokens(tmp_path: Path, llama_folder: Path) -> None:
    async def tokens(runtime: Runtime) -> list[int]:
        return await ask(runtime, "general", PROMPT, 12)

    files = [tmp_path / kind / "coe.toml" for kind in ("units", "in-place", "derived")]
    for file in files:
        file.parent.mkdir()
        write_config(file.parent, {"general": llama_folder})
    files[1].write_text(files[1].read_text().replace("[cache]\n", '[cache]\nstore = "in-place"\n'))
    unnamed = files[2].read_text().replace('host_bytes = "64MB"\n', "").replace("num_threads = 1", 'kv_bytes = "9MB"')
    files[2].write_text(unnamed)  # budgets and threads from what such a system says
    found = subprocess.run(
        [sys.executable, "-c", PLAIN, PROMPT, *map(str, files)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
        env={"PYTHONPATH": f".:{SUPPORT}", "HF_HUB_OFFLINE": "1", "PATH": "/usr/bin:/bin"},
    )
    assert found.returncode == 0, found.stderr
    expected = with_runtime(write_config(tmp_path, {"general": llama_folder}), tokens)
    assert json.loads(found.stdout) == [expected] * 3
