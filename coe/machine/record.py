"""The record of the machine that a figure belongs to: processor and features, memory, GPU, library versions, commit.

Every benchmark and every measurement of the router records it. Importing this module is light; asking for the record
imports torch, which alone knows the GPU and the threads.
"""

from __future__ import annotations

import os
import platform
import subprocess
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from coe.machine.allowance import usable_cpus

__all__ = ["Machine", "this_machine"]

CPU_INFO = Path("/proc/cpuinfo")
FEATURES = (  # those that the arithmetic on a CPU depends on
    "avx2",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "amx_bf16",
    "amx_int8",
)


@dataclass(frozen=True, slots=True)
class Machine:
    """Where figures were made.

    `num_cpus` are those that this process may use, `cpu_features` those of FEATURES that the processor has, and
    `num_threads` torch's. `commit` ends in + where the tree differed from it, and is None outside a checkout.
    """

    cpu: str
    cpu_features: tuple[str, ...]
    num_cpus: int
    memory_bytes: int
    gpu: str | None
    num_threads: int
    python: str
    torch: str
    transformers: str
    numpy: str
    scipy: str
    scikit_learn: str
    commit: str | None


def this_machine() -> Machine:
    """Return the record of this machine and this checkout."""
    import torch

    cpu, features = processor()
    return Machine(
        cpu=cpu,
        cpu_features=features,
        num_cpus=usable_cpus(),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        gpu=torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        num_threads=torch.get_num_threads(),
        python=platform.python_version(),
        torch=torch.__version__,
        transformers=version("transformers"),
        numpy=version("numpy"),
        scipy=version("scipy"),
        scikit_learn=version("scikit-learn"),
        commit=commit(),
    )


def processor(cpu_info: Path = CPU_INFO) -> tuple[str, tuple[str, ...]]:
    """Return the processor's name (its architecture where the system does not tell) and the features it has."""
    fields: dict[str, str] = {}
    for line in cpu_info.read_text(encoding="utf-8").splitlines() if cpu_info.is_file() else ():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    flags = fields.get("flags", "").split()
    return fields.get("model name", platform.machine()), tuple(name for name in FEATURES if name in flags)


def commit() -> str | None:
    """Return the short hash of the checkout, with a + where files differ from it; None outside of one."""
    head = git("rev-parse", "--short", "HEAD")
    if not head:
        return None
    return head + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")


def git(*words: str) -> str:
    """Return what git prints for this checkout, nothing where there is no git or no checkout."""
    try:
        done = subprocess.run(["git", *words], cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
