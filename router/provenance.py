"""What a figure belongs to: machine, versions, commit. Owns nothing else."""

from __future__ import annotations

import os
import platform
import subprocess
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

__all__ = ["Provenance", "provenance"]


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where figures were made; `commit` ends in + where the tree differed from it, and is empty outside a checkout."""

    cpu: str
    num_cpus: int
    python: str
    numpy: str
    scipy: str
    scikit_learn: str
    commit: str


def provenance() -> Provenance:
    """Return this machine and this checkout."""
    return Provenance(
        cpu_name(),
        os.cpu_count() or 1,
        platform.python_version(),
        version("numpy"),
        version("scipy"),
        version("scikit-learn"),
        git("rev-parse", "--short", "HEAD") + ("+" if git("status", "--porcelain", "--untracked-files=no") else ""),
    )


def cpu_name() -> str:
    """Return the processor's name, or its architecture where the system does not tell."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def git(*words: str) -> str:
    """Return what git says here, nothing where there is no git or no checkout."""
    try:
        done = subprocess.run(["git", *words], cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
