"""The expert that answers in the benchmark: a tiny random Llama with a tokenizer of bytes, in a folder of its own."""

from __future__ import annotations

import shutil
from pathlib import Path

from coe.bench.synthetic import make_synthetic, write_checkpoint
from coe.config.read import load_config
from coe.config.schema import Config
from coe.weights.store.unit_store import UnitStore

__all__ = ["NAME", "tiny_config"]

NAME = "tiny"
_CONFIG = """
[experts]
{name} = "{source}"
[router]
general = "{name}"
enabled = false
[cache]
dir = "{store}"
host_bytes = "600MB"
[engine]
device = "cpu"
dtype = "float32"
max_batch_size = {num_streams}
max_step_tokens = 4096
kv_bytes = "512MB"
prefix_reuse = false
[scheduler]
max_queue = 4096
max_queue_per_expert = 4096
"""


def tiny_config(folder: Path, num_streams: int) -> Config:
    """Write the expert and return a configuration that runs so many answers at a time."""
    store = UnitStore(folder / "made")
    made = make_synthetic(store, "tiny", 1)[0]
    source = write_checkpoint(store, made.manifest, folder / NAME)
    for file in made.spec.folder.iterdir():
        shutil.copy(file, source / file.name)
    written = folder / "coe.toml"
    written.write_text(_CONFIG.format(name=NAME, source=source, store=folder / "store", num_streams=num_streams))
    return load_config(written)
