"""A configuration is read whole or refused whole, by name, before any model is touched."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

from coe.config.schema import (
    TABLES,
    CacheConfig,
    Config,
    EngineConfig,
    ExpertConfig,
    RouterConfig,
    RuleConfig,
    SchedulerConfig,
    ServerConfig,
    describe,
    load_config,
)
from coe.errors import ConfigError
from coe.types import Sampling

EXAMPLE = Path(__file__).parents[3] / "examples" / "coe.toml"
MODELS = {
    "cache": CacheConfig,
    "engine": EngineConfig,
    "scheduler": SchedulerConfig,
    "router": RouterConfig,
    "server": ServerConfig,
    "router.rules": RuleConfig,
    "experts.*.generation": Sampling,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two sources, a, b, in it."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    return tmp_path


def read(folder: Path, text: str) -> Config:
    file = folder / "coe.toml"
    file.write_text(text)
    return load_config(file)


def refusal(folder: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read(folder, text)
    return str(caught.value)


def test_three_lines_are_enough(folder: Path) -> None:
    config = read(folder, '[experts]\ngeneral = "./a"\nsql = "b"\n')
    assert [expert.name for expert in config.experts] == ["general", "sql"]
    assert [expert.source.folder for expert in config.experts] == [folder / "a", folder / "b"]
    assert config.router.general == "general"
    assert (config.cache, config.engine) == (CacheConfig(), EngineConfig())


def test_only_expert_is_the_general_one(folder: Path) -> None:
    assert read(folder, '[experts]\nTiny = "a"\n').router.general == "Tiny"


def test_example_shows_every_key_there_is(tmp_path: Path) -> None:
    (tmp_path / "router" / "default").mkdir(parents=True)  # what the example's artefact names
    shutil.copytree(EXAMPLE.parent, tmp_path / "examples", ignore=shutil.ignore_patterns("demo"))
    config = load_config(tmp_path / "examples" / "coe.toml")
    assert config.expert_for("MATH") == "math"
    written = tomllib.loads(EXAMPLE.read_text())
    experts = [expert for expert in written["experts"].values() if isinstance(expert, dict)]
    for table, readers in TABLES.items():
        parts = {"experts.*": experts, "experts.*.generation": [experts[0]["generation"]]}
        shown = parts.get(table) or (written["router"]["rules"] if table == "router.rules" else [written[table]])
        assert {key for item in shown for key in item} == set(readers)


@pytest.mark.parametrize("table", MODELS)
def test_every_field_of_a_model_has_a_key(table: str) -> None:
    of_a_request = {"logit_bias", "min_tokens", "ignore_eos", "num_logprobs"}  # no expert has a default for them
    assert {item.name for item in fields(MODELS[table])} - of_a_request == set(TABLES[table])


def test_every_field_of_an_expert_has_a_key() -> None:
    keys = set(TABLES["experts.*"]) - {"revision"}  # part of the source
    assert {item.name for item in fields(ExpertConfig)} - {"name"} == keys


def test_every_key_arrives_in_its_type(folder: Path) -> None:
    config = read(
        folder,
        """
        [experts.general]
        source = "org/model"
        revision = "abc"
        [experts.math]
        source = "a"
        base = "GENERAL"
        aliases = "maths"
        keep_alive_s = 5
        generation = {stop = "END", temperature = 0, top_k = 3}
        [cache]
        device_bytes = "1.5GiB"
        host_bytes = 1000
        [router]
        general = "Maths"
        categories = {algebra = "maths"}
        stickiness = 0.25
        [[router.rules]]
        language = "de"
        keyword = ["tax", "tax law"]
        expert = "MATHS"
        [[router.rules]]
        has_tools = true
        category = "tools"
        """,
    )
    general, math = config.experts
    assert (general.source.folder, general.source.revision) == (None, "abc")
    assert math.base == general.source  # the other expert's source, with its revision
    assert (math.aliases, math.keep_alive_s) == (("maths",), 5.0)
    assert math.generation == Sampling(stop=("END",), temperature=0.0, top_k=3)
    assert (config.cache.device_bytes, config.cache.host_bytes) == (1610612736, 1000)
    assert config.router.general == "math"
    assert config.router.stickiness == 0.25
    assert config.router.rules == (
        RuleConfig(("de",), ("tax", "tax law"), expert="math"),
        RuleConfig(has_tools=True, category="tools"),
    )
    assert "language de and keyword tax|tax law -> math; has_tools true -> category tools" in describe(config)
    assert [config.expert_for(name) for name in ("Algebra", "MATHS", "law")] == ["math", "math", None]


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ('"24GiB"', 24 * 2**30),
        ('"500MB"', 500_000_000),
        ('"2 kB"', 2000),
        ('"2KiB"', 2048),
        ('"7B"', 7),
        ("9", 9),
    ],
)
def test_sizes_are_bytes(folder: Path, size: str, expected: int) -> None:
    assert read(folder, f'experts.a = "a"\ncache.host_bytes = {size}').cache.host_bytes == expected


def test_variables_and_home_expand_in_paths(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("MODELS", str(folder))
    monkeypatch.delenv("COE_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    text = '[experts]\ngeneral = "~/a"\nb = "${MODELS}/b"\n'
    config = read(folder, text + '[cache]\ndir = "${COE_CACHE}/other"')
    assert [expert.source.folder for expert in config.experts] == [folder / "a", folder / "b"]
    assert config.cache.dir == folder / "cache" / "coe" / "other"
    monkeypatch.setenv("COE_CACHE", str(folder / "mine"))
    assert read(folder, text).cache.dir == folder / "mine" / "store"


A = 'experts.a = "a"\n'
REFUSALS = [
    ("", "[experts]: there is no expert; write at least"),
    ("[experts]", "there is no expert"),
    ("experts = 1", "there is no expert"),
    ("[experts", "not TOML"),
    ('experts.a = "a"\nexperts.a = "b"', "not TOML: Cannot overwrite a value"),
    ("experts.a = 5", "[experts.a] = 5: not a table"),
    ('experts.a = ""', '[experts.a] source = "": not a text'),
    ("[experts.a]\npin = true", "[experts.a] has no source; write source ="),
    (
        'experts.a = "./gone"',
        "gone does not exist; name a folder (relative to the configuration file) or a hub id",
    ),
    ('experts.a = "coe.toml"', "coe.toml is a file, not a folder"),
    ('experts.a = "${NO_SUCH_VARIABLE}/a"', "environment variable 'NO_SUCH_VARIABLE' is not set"),
    ('experts.a = {source = "a", revision = "x"}', '[experts.a] revision = "x": only a hub id has revisions'),
    ('experts.a = {source = "a", base = "a"}', "an expert cannot be its own base"),
    ('experts.general = "a"\nexperts.b = {source = "b", base = "genral"}', "did you mean 'general'?"),
    ('experts.a = {source = "a", base = "./gone"}', "gone does not exist"),
    ('experts.a = {source = "a", sauce = 1}', "unknown key 'sauce' in [experts.a]; did you mean 'source'?"),
    ('experts.a = {source = "a", chat_template = "x"}', "x does not exist; paths are relative"),
    ('experts.a = {source = "a", chat_template = "b"}', "b is not a file"),
    ('experts.a = {source = "a", keep_alive_s = -1}', "[experts.a] keep_alive_s = -1: out of range"),
    ('experts.a = {source = "a", generation = 3}', "[experts.a.generation] = 3: not a table"),
    (
        'experts.a = {source = "a", generation = {top_p = 0}}',
        "top_p = 0: out of range; write a number above 0",
    ),
    ('experts.a = {source = "a", generation = {temperatur = 1}}', "did you mean 'temperature'?"),
    ('experts.a = "a"\nexperts.A = "b"', "expert 'a' has this name too (case does not count)"),
    (
        'experts.general = "a"\nexperts.b = {source = "b", aliases = ["General"]}',
        "[experts.b] alias 'General': expert 'general' has",
    ),
    ('experts.a = {source = "a", aliases = ["A"]}', "this is the expert's own name; remove the alias"),
    ('experts.coe = "a"', "'coe' means the whole composition"),
    ('experts."a b" = "a"', "letters, digits"),
    ('experts.a = "a"\nexperts.b = "b"', "[router] general: no expert is called 'general'"),
    (A + 'router.general = "b"', '[router] general = "b": names no expert'),
    (A + 'router.categories.sql = "q"', '[router.categories] sql = "q": names no expert; experts: a'),
    (A + "router.categories.sql = 1", "[router.categories] sql = 1: not a text"),
    (A + 'router.artefact = "gone"', '[router] artefact = "gone":'),
    (A + "router.min_confidence = 1.5", "out of range; write a number at least 0 and at most 1"),
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
    (A + 'engine.copy_link_bytes_per_s = "1GB"', "only the emulated device has a copy link"),
    (A + 'scheduler.policy = "lru"', 'write one of "value", "fcfs"'),
    (A + "scheduler.deadline_s = inf", "[scheduler] deadline_s = Infinity: out of range"),
    (A + "scheduler.deadline_s = '3'", "not a number"),
    (A + "server.port = 70000", "[server] port = 70000: out of range; write 0 to 65535"),
    (A + "server.host = 1", "[server] host = 1: not a text"),
    (A + "router.enabled = 'yes'", "neither true nor false"),
    (
        A + "router.residency_epsilon = -0.1",
        "[router] residency_epsilon = -0.1: out of range; write a number at least 0",
    ),
    (
        A + "router.residency_epsilon = 1.5",
        "residency_epsilon = 1.5: out of range; write a number at least 0 and at most",
    ),
    (A + "router.residency_epsilon = 0.1", "near-equals are told by expected scores; write mapping = the file of"),
    (A + "router.stickiness = 2", "[router] stickiness = 2: out of range"),
    (A + 'router.mapping = "gone.json"', '[router] mapping = "gone.json":'),
    (A + 'router.mapping = "a"', "a is not a file"),
    (A + "router.rules = 3", "[router] rules: not a list of tables; write each rule under its own [[router.rules]]"),
    (A + "router.rules = [3]", "[[router.rules]] 1 = 3: not a table"),
    (A + '[[router.rules]]\nword = "x"', "unknown key 'word' in [[router.rules]] 1; did you mean 'keyword'?"),
    (A + '[[router.rules]]\nhas_tools = "x"', '[[router.rules]] 1 has_tools = "x": neither true nor false'),
    (
        A + '[[router.rules]]\nkeyword = "x"\nexpert = "a"\n[[router.rules]]\nkeyword = "y"\nexpert = "q"',
        '[[router.rules]] 2 expert = "q": names no expert; experts: a',
    ),
]


@pytest.mark.parametrize(("text", "expected"), REFUSALS)
def test_bad_value_is_refused_by_name_once(folder: Path, text: str, expected: str) -> None:
    message = refusal(folder, text)
    assert expected in message
    assert str(folder / "coe.toml") in message
    assert "problems" not in message


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


def test_description_names_every_expert_and_setting(folder: Path) -> None:
    config = read(folder, '[experts]\ngeneral = "a"\nsql = {source = "b", aliases = ["db"], pin = true}\n')
    text = describe(config)
    assert f"sql: {folder / 'b'}, also called db, pinned" in text
    assert all(key in text for table in MODELS if "." not in table for key in TABLES[table])
    assert "device_bytes = (derived at start)" in text


def test_reading_a_configuration_imports_no_torch() -> None:
    code = "import sys, coe.config; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
