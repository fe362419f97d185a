"""The command line run as people run it: the console script, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

__all__ = ["COE", "coe", "imported_by"]

COE = Path(sys.executable).with_name("coe")


def coe(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run `coe` with these words, in any folder."""
    return subprocess.run(
        [str(COE), *words], cwd=cwd, capture_output=True, text=True, check=False, env=dict(os.environ)
    )


def imported_by(*words: str) -> set[str]:
    """Which heavy packages a command imports."""
    code = """
import sys
from coe.cli import main
try:
    main(sys.argv[1:])
except SystemExit:
    pass
print()
print(*({"torch", "transformers", "sklearn", "fastapi", "router", "server"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())
