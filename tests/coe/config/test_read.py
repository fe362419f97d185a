"""A configuration is read whole or refused whole, with every problem by name, before any model is touched."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from configurations import A, check_refused, read, refusal

from coe.config.read import load_config
from coe.config.schema import CacheConfig, EngineConfig
from coe.errors import ConfigError

REFUSALS = [
    ("[experts", "not TOML"),
    ('experts.a = "a"\nexperts.a = "b"', "not TOML: Cannot overwrite a value"),
    (A + "cache.gpu_bytes = 1", "unknown key 'gpu_bytes' in [cache]"),
    (A + "cache.device_byte = 1", "unknown key 'device_byte' in [cache]; did you mean 'device_bytes'?"),
    (
        A + 'cache.device_bytes = "12Gb?"',
        '[cache] device_bytes = "12Gb?": not a size; write a number of bytes',
    ),
    (A + 'cache.device_bytes = "-3GB"', "not a size"),
    (A + "cache.device_bytes = 0", "a size must be above zero"),
    (A + "cache.device_bytes = true", "not a size"),
    (A + 'cache.dir = "coe.toml"', "coe.toml is not a folder"),
    (A + "[cash]", "unknown table [cash]; did you mean 'cache'?"),
    (
        A + 'engine.device = "gpu"',
        '[engine] device = "gpu": unknown value; write one of "auto", "cpu", "cuda"',
    ),
    (A + "engine.dtype = 32", "[engine] dtype = 32: unknown value"),
    (A + "engine.max_batch_size = 1.5", "not a whole number; write 1 to 4096"),
    (A + "engine.max_batch_size = 0", "out of range"),
    (A + 'engine.copy_link_bytes_per_s = "1GB"', "only the emulated device's copy link can be slowed down"),
    (A + 'scheduler.policy = "lru"', 'write one of "value", "fcfs"'),
    (A + "scheduler.deadline_s = inf", "[scheduler] deadline_s = Infinity: out of range"),
    (A + "scheduler.deadline_s = '3'", "not a number"),
    (A + "server.port = 70000", "[server] port = 70000: out of range; write 0 to 65535"),
    (A + "server.host = 1", "[server] host = 1: not a text"),
]


@pytest.mark.parametrize(("text", "expected"), REFUSALS)
def test_bad_value_is_refused_by_name_once(folder: Path, text: str, expected: str) -> None:
    check_refused(folder, text, expected)


def test_three_lines_are_enough(folder: Path) -> None:
    config = read(folder, '[experts]\ngeneral = "./a"\nsql = "b"\n')
    assert [expert.name for expert in config.experts] == ["general", "sql"]
    assert [expert.source.folder for expert in config.experts] == [folder / "a", folder / "b"]
    assert config.router.general == "general"
    assert (config.cache, config.engine) == (CacheConfig(), EngineConfig())


def test_names_are_those_of_every_expert_in_lower_case(folder: Path) -> None:
    config = read(folder, '[experts]\nGeneral = "a"\nsql = {source = "b", aliases = ["DB"]}\n')
    assert config.names == {"general": "General", "sql": "sql", "db": "sql"}


def test_sizes_arrive_in_bytes(folder: Path) -> None:
    config = read(folder, A + 'cache.device_bytes = "1.5GiB"\ncache.host_bytes = 1000')
    assert (config.cache.device_bytes, config.cache.host_bytes) == (1610612736, 1000)


def test_all_problems_are_reported_together(folder: Path) -> None:
    message = refusal(folder, '[experts]\na = "./x"\nb = "./y"\n[cache]\ngpu_byte = 1\n[server]\nport = -1\n')
    assert "5 problems" in message
    assert all(part in message for part in ("./x", "./y", "'gpu_byte'", "port = -1", "[router] general"))


def test_missing_and_unreadable_files_say_what_to_write(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no such file.*\n +\[experts\]"):
        load_config(tmp_path / "gone.toml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path)
    (tmp_path / "latin").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="not UTF-8 at byte 0"):
        load_config(tmp_path / "latin")


def test_reading_a_configuration_imports_no_torch() -> None:
    code = "import sys, coe.config.read; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
