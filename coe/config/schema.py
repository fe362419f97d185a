"""The configuration: coe.toml read into frozen values, or refused with every problem at once.

Owns the tables, keys, defaults and the checks across tables (names, bases, the general expert, categories).
Only asks whether files exist: no model is opened, no hub is asked, torch is not imported. What a source holds
is the catalogue's business; budgets left out are derived where the memory is.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

from coe.config.toml_fields import (
    Reader,
    boolean,
    cache_dir,
    choice,
    existing_file,
    existing_path,
    expand,
    folder_path,
    list_of,
    nearest,
    read_table,
    real,
    size,
    text,
    whole,
)
from coe.errors import ConfigError
from coe.types import Sampling

__all__ = [
    "COMPOSITION",
    "TABLES",
    "CacheConfig",
    "Config",
    "Device",
    "Dtype",
    "EngineConfig",
    "Eviction",
    "ExpertConfig",
    "Policy",
    "RouterConfig",
    "RuleConfig",
    "SchedulerConfig",
    "ServerConfig",
    "Source",
    "StoreKind",
    "Weights",
    "cache_dir",
    "describe",
    "load_config",
]

COMPOSITION = "coe"  # the model name that means "route it"; no expert may have it

Device = Literal["auto", "cpu", "cuda", "emulated"]
Dtype = Literal["auto", "float32", "bfloat16", "float16"]
Policy = Literal["value", "fcfs"]
Weights = Literal["full", "bfloat16", "int8"]
Eviction = Literal["value", "lru"]
StoreKind = Literal["units", "in-place"]


@dataclass(frozen=True, slots=True)
class Source:
    """Where weights come from: a local folder, or (`folder` None) the hub repository `text` at `revision`."""

    text: str
    folder: Path | None = None
    revision: str | None = None

    def __str__(self) -> str:
        return str(self.folder or (f"{self.text}@{self.revision}" if self.revision else self.text))


@dataclass(frozen=True, slots=True)
class ExpertConfig:
    """One expert. `base` (for an adapter) is already the other expert's source where it named one."""

    name: str
    source: Source
    base: Source | None = None
    aliases: tuple[str, ...] = ()
    dtype: Dtype | None = None  # None: the engine's
    weights: Weights = "full"
    pin: bool = False
    keep_alive_s: float | None = None  # None: evicted only under pressure
    preload: bool = False
    chat_template: Path | None = None
    generation: Sampling = field(default_factory=Sampling)


@dataclass(frozen=True, slots=True)
class CacheConfig:
    """Budgets in bytes (None: derived from the machine), the folder of the unit store, and how both are used."""

    device_bytes: int | None = None
    host_bytes: int | None = None
    dir: Path = field(default_factory=lambda: cache_dir() / "store")
    store: StoreKind = "units"
    eviction: Eviction = "value"
    rehash_loads: bool = False


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """Where and how an expert runs. `max_tokens` is for requests that name none."""

    device: Device = "auto"
    dtype: Dtype = "auto"
    max_batch_size: int = 16
    max_step_tokens: int = 512
    max_tokens: int = 512
    kv_bytes: int | None = None
    num_threads: int | None = None
    copy_link_bytes_per_s: int | None = None
    prefix_reuse: bool = True
    cuda_graphs: bool = True
    graph_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class SchedulerConfig:
    """Who runs next and who is refused. `deadline_s` runs to the first token."""

    policy: Policy = "value"
    max_queue: int = 256
    max_queue_per_expert: int = 128
    deadline_s: float = 300.0
    max_wait_s: float = 2.0
    slice_steps: int = 16


@dataclass(frozen=True, slots=True)
class RuleConfig:
    """One of `[[router.rules]]`: all its conditions, and the expert or the category that they name.

    `expert` is a name, never an alias. What languages and categories there are is the router's business.
    """

    language: tuple[str, ...] = ()
    keyword: tuple[str, ...] = ()
    has_tools: bool | None = None
    expert: str | None = None
    category: str | None = None


@dataclass(frozen=True, slots=True)
class RouterConfig:
    """Prompt to expert. `general` and the values of `categories` are names of experts, never aliases."""

    general: str
    artefact: Path | None = None  # None: the router's own default
    min_confidence: float | None = None  # None: what the artefact was calibrated to
    enabled: bool = True
    mapping: Path | None = None  # what `coe router map` wrote
    residency_epsilon: float = 0.0
    stickiness: float | None = None  # None: the router's own default
    device: str = "cpu"  # where prompts are encoded
    categories: Mapping[str, str] = field(default_factory=dict)
    rules: tuple[RuleConfig, ...] = ()


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """The HTTP side."""

    host: str = "127.0.0.1"
    port: int = 8000
    drain_s: float = 30.0
    max_body_bytes: int = 8 * 1024**2


@dataclass(frozen=True, slots=True)
class Config:
    """A configuration that can be used."""

    file: Path
    experts: tuple[ExpertConfig, ...]
    router: RouterConfig
    cache: CacheConfig = field(default_factory=CacheConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)
    scheduler: SchedulerConfig = field(default_factory=SchedulerConfig)
    server: ServerConfig = field(default_factory=ServerConfig)

    @property
    def names(self) -> dict[str, str]:
        """Every name and alias, in lower case, with the name of its expert."""
        return {word.lower(): expert.name for expert in self.experts for word in (expert.name, *expert.aliases)}

    def expert_for(self, category: str) -> str | None:
        """Return a category's expert, case ignored: from `[router.categories]`, else by name or alias."""
        mapped = {key.lower(): expert for key, expert in self.router.categories.items()}
        return mapped.get(category.lower()) or self.names.get(category.lower())


# Every table and key there is; the defaults are the dataclasses' own.
TABLES: Mapping[str, Mapping[str, Reader]] = {
    "experts.*": {
        "source": text,
        "revision": text,
        "base": text,
        "aliases": list_of(text),
        "dtype": choice(*get_args(Dtype)),
        "weights": choice(*get_args(Weights)),
        "pin": boolean,
        "keep_alive_s": real(0),
        "preload": boolean,
        "chat_template": existing_file,
        "generation": lambda value, _folder: value,  # a table of its own
    },
    "experts.*.generation": {
        "max_tokens": whole(1),
        "temperature": real(0, 2),
        "top_p": real(0, 1, above=True),
        "top_k": whole(0),
        "min_p": real(0, 1),
        "repetition_penalty": real(0, 10, above=True),
        "presence_penalty": real(-2, 2),
        "frequency_penalty": real(-2, 2),
        "seed": whole(0, 2**63 - 1),
        "stop": list_of(text),
    },
    "cache": {
        "device_bytes": size,
        "host_bytes": size,
        "dir": folder_path,
        "store": choice(*get_args(StoreKind)),
        "eviction": choice(*get_args(Eviction)),
        "rehash_loads": boolean,
    },
    "engine": {
        "device": choice(*get_args(Device)),
        "dtype": choice(*get_args(Dtype)),
        "max_batch_size": whole(1, 4096),
        "max_step_tokens": whole(1),
        "max_tokens": whole(1),
        "kv_bytes": size,
        "num_threads": whole(1, 1024),
        "copy_link_bytes_per_s": size,
        "prefix_reuse": boolean,
        "cuda_graphs": boolean,
        "graph_bytes": size,
    },
    "scheduler": {
        "policy": choice(*get_args(Policy)),
        "max_queue": whole(1),
        "max_queue_per_expert": whole(1),
        "deadline_s": real(0, above=True),
        "max_wait_s": real(0, above=True),
        "slice_steps": whole(1),
    },
    "router": {
        "artefact": existing_path,
        "general": text,
        "min_confidence": real(0, 1),
        "enabled": boolean,
        "mapping": existing_file,
        "residency_epsilon": real(0, 1),
        "stickiness": real(0, 1),
        "device": choice("cpu", "cuda"),
        "categories": lambda value, _folder: value,  # a table of its own
        "rules": lambda value, _folder: value,  # tables of their own
    },
    "router.rules": {
        "language": list_of(text),
        "keyword": list_of(text),
        "has_tools": boolean,
        "expert": text,
        "category": text,
    },
    "server": {"host": text, "port": whole(0, 65535), "drain_s": real(0), "max_body_bytes": size},
}

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_START = 'write at least\n    [experts]\n    general = "path/of/a/model"'


def load_config(path: str | Path) -> Config:
    """Return the configuration in `path`; raises ConfigError with the file and every problem found in it."""
    file = Path(path).expanduser().absolute()
    problems: list[str] = []
    config = _Reading(file, _parse(file), problems).config()
    if config is None or problems:
        heading = f"{file}: {len(problems)} problem{'s' if len(problems) > 1 else ''}"
        raise ConfigError("\n  ".join([heading, *problems]))
    return config


def _parse(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{file}: no such file; name another one, or {_START}") from None
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror}); make it readable") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: not UTF-8 at byte {error.start}; save it as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file}: not TOML: {error}; correct that place") from error


class _Reading:
    """One pass over one file. Problems pile up in `problems`; a wrong value is left at its default."""

    def __init__(self, file: Path, raw: dict[str, Any], problems: list[str]) -> None:
        self.file = file
        self.folder = file.parent
        self.raw = raw
        self.problems = problems
        self.names: dict[str, str] = {}  # every name and alias in lower case -> the expert's name

    def config(self) -> Config | None:
        known = {name for name in TABLES if "." not in name} | {"experts"}
        for table in self.raw.keys() - known:
            self.problems.append(f"unknown table [{table}]; {nearest(table, known, 'known tables')}")
        values = {name: self.table(name, self.raw.get(name, {})) for name in known - {"experts"}}
        experts = self.experts()
        router = self.router(values.pop("router"), experts)
        self.check_engine(values["engine"])
        if self.problems or router is None:
            return None
        return Config(
            self.file,
            experts,
            router,
            CacheConfig(**values["cache"]),
            EngineConfig(**values["engine"]),
            SchedulerConfig(**values["scheduler"]),
            ServerConfig(**values["server"]),
        )

    def table(self, name: str, raw: object, readers: str | None = None) -> dict[str, Any]:
        return read_table(raw, f"[{name}]", TABLES[readers or name], self.folder, self.problems)

    def check_engine(self, engine: Mapping[str, Any]) -> None:
        if "copy_link_bytes_per_s" in engine and engine.get("device") != "emulated":
            self.problems.append(
                f"[engine] copy_link_bytes_per_s = {engine['copy_link_bytes_per_s']}: only the emulated device has a "
                'copy link to cap; remove it or write device = "emulated"'
            )

    def experts(self) -> tuple[ExpertConfig, ...]:
        raw = self.raw.get("experts", {})
        if not isinstance(raw, dict) or not raw:
            self.problems.append(f"[experts]: there is no expert; {_START}")
            return ()
        tables = {
            name: self.table(f"experts.{name}", {"source": value} if isinstance(value, str) else value, "experts.*")
            for name, value in raw.items()
        }
        for name, table in tables.items():
            self.claim(name, name, "name")
            for alias in table.get("aliases", ()):
                self.claim(alias, name, "alias")
        sources = {name: self.own_source(name, table) for name, table in tables.items()}
        read = (self.expert(name, table, sources) for name, table in tables.items())
        return tuple(expert for expert in read if expert is not None)

    def claim(self, word: str, expert: str, kind: str) -> None:
        """Give a name or alias to an expert; nobody else may have it in any case."""
        where = f"[experts.{expert}] {kind} '{word}'"
        owner = self.names.setdefault(word.lower(), expert)
        if not _NAME.fullmatch(word):
            self.problems.append(f"{where}: letters, digits, '.', '_' and '-' only, a letter or digit first")
        elif word.lower() == COMPOSITION:
            self.problems.append(f"{where}: '{COMPOSITION}' means the whole composition; choose another {kind}")
        elif owner != expert:
            self.problems.append(
                f"{where}: expert '{owner}' has this name too (case does not count); choose another {kind}"
            )
        elif kind == "alias" and word.lower() == expert.lower():
            self.problems.append(f"{where}: this is the expert's own name; remove the alias")

    def own_source(self, name: str, table: Mapping[str, Any]) -> Source | None:
        if "source" not in table:
            raw = self.raw["experts"][name]
            if isinstance(raw, dict) and "source" not in raw:
                self.problems.append(f"[experts.{name}] has no source; write source = a folder or a hub id")
            return None
        source = self.source(f"[experts.{name}] source", table["source"], table.get("revision"))
        if source and source.folder and "revision" in table:
            self.problems.append(
                f'[experts.{name}] revision = "{table["revision"]}": only a hub id has revisions; remove it'
            )
        return source

    def source(self, where: str, written: str, revision: str | None) -> Source | None:
        """Tell a folder from a hub id: what starts like a path or exists is a folder."""
        try:
            folder = expand(written, self.folder)
        except ValueError as error:
            self.problems.append(f'{where} = "{written}": {error}')
            return None
        if folder.is_dir():
            return Source(written, folder)
        if _HUB_ID.fullmatch(written) and not folder.exists():
            return Source(written, None, revision)
        what = "is a file, not a folder" if folder.exists() else "does not exist"
        self.problems.append(
            f'{where} = "{written}": {folder} {what}; name a folder (relative to the configuration '
            'file) or a hub id such as "org/model"'
        )
        return None

    def expert(self, name: str, table: dict[str, Any], sources: Mapping[str, Source | None]) -> ExpertConfig | None:
        generation = self.table(f"experts.{name}.generation", table.pop("generation", {}), "experts.*.generation")
        base = self.base(name, table.pop("base", None), sources)
        source = sources[name]
        kept = {key: value for key, value in table.items() if key not in ("source", "revision")}
        return ExpertConfig(name, source, base, generation=Sampling(**generation), **kept) if source else None

    def base(self, name: str, written: str | None, sources: Mapping[str, Source | None]) -> Source | None:
        if written is None:
            return None
        where = f"[experts.{name}] base"
        owner = self.names.get(written.lower())
        if owner == name:
            self.problems.append(f'{where} = "{written}": an expert cannot be its own base; name another one')
            return None
        if owner is not None:
            return sources[owner]
        if _NAME.fullmatch(written) and not (self.folder / written).exists():
            hint = nearest(written, self.names.keys() - {name.lower()}, "experts")
            self.problems.append(f'{where} = "{written}": names no expert and no folder; {hint}')
            return None
        return self.source(where, written, None)

    def router(self, table: dict[str, Any], experts: tuple[ExpertConfig, ...]) -> RouterConfig | None:
        categories = self.categories(table.pop("categories", {}))
        rules = self.rules(table.pop("rules", []))
        general = self.general(table.pop("general", None), experts)
        if table.get("residency_epsilon") and "mapping" not in table:
            self.problems.append(
                f"[router] residency_epsilon = {table['residency_epsilon']:g}: near-equals are told by expected "
                "scores; write mapping = the file of `coe router map --json`, or residency_epsilon = 0"
            )
        return RouterConfig(general, categories=categories, rules=rules, **table) if general else None

    def categories(self, raw: object) -> dict[str, str]:
        readers = dict.fromkeys(raw, text) if isinstance(raw, dict) else {}
        written = read_table(raw, "[router.categories]", readers, self.folder, self.problems)
        for category, expert in written.items():
            if expert.lower() not in self.names:
                hint = nearest(expert, self.names, "experts")
                self.problems.append(f'[router.categories] {category} = "{expert}": names no expert; {hint}')
        return {category: self.names.get(expert.lower(), "") for category, expert in written.items()}

    def rules(self, raw: object) -> tuple[RuleConfig, ...]:
        if not isinstance(raw, list):
            self.problems.append("[router] rules: not a list of tables; write each rule under its own [[router.rules]]")
            return ()
        return tuple(self.rule(table, f"[[router.rules]] {number}") for number, table in enumerate(raw, 1))

    def rule(self, raw: object, where: str) -> RuleConfig:
        table = read_table(raw, where, TABLES["router.rules"], self.folder, self.problems)
        named = table.get("expert")
        if named is not None and named.lower() not in self.names:
            hint = nearest(named, self.names, "experts")
            self.problems.append(f'{where} expert = "{named}": names no expert; {hint}')
        return RuleConfig(**table | ({} if named is None else {"expert": self.names.get(named.lower(), "")}))

    def general(self, written: str | None, experts: tuple[ExpertConfig, ...]) -> str | None:
        """Return the expert for unsure prompts: the one named, the one called `general`, or the only one."""
        if written is not None and written.lower() not in self.names:
            hint = nearest(written, self.names, "experts")
            self.problems.append(f'[router] general = "{written}": names no expert; {hint}')
            return None
        if written is None and "general" not in self.names:
            names = set(self.names.values())
            if len(names) > 1:
                self.problems.append(
                    "[router] general: no expert is called 'general', so say which one answers when the "
                    f'router is unsure: general = "{experts[0].name if experts else min(names)}"'
                )
            return names.pop() if len(names) == 1 else None
        return self.names[(written or "general").lower()]


def describe(config: Config) -> str:
    """Return what was read and derived, a line per fact, for people."""
    lines = [f"configuration {config.file}", f"experts ({len(config.experts)})"]
    lines += [f"  {_describe_expert(expert)}" for expert in config.experts]
    for name in ("router", "cache", "engine", "scheduler", "server"):
        table = getattr(config, name)
        lines.append(name)
        lines += [f"  {item.name} = {_shown(getattr(table, item.name))}" for item in fields(table)]
    return "\n".join(lines)


def _describe_expert(expert: ExpertConfig) -> str:
    facts = [f"{expert.name}: {expert.source}"]
    facts += [f"base {expert.base}"] if expert.base else []
    facts += [f"also called {', '.join(expert.aliases)}"] if expert.aliases else []
    facts += [f"dtype {expert.dtype}"] if expert.dtype else []
    facts += [f"weights {expert.weights}"] if expert.weights != "full" else []
    facts += ["pinned"] if expert.pin else []
    facts += ["preloaded"] if expert.preload else []
    facts += [f"kept {expert.keep_alive_s:g} s"] if expert.keep_alive_s is not None else []
    return ", ".join(facts)


def _shown(value: object) -> str:
    if value is None:
        return "(derived at start)"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} -> {name}" for key, name in value.items()) or "(by the experts' names)"
    if isinstance(value, tuple):
        return "; ".join(map(_shown_rule, value)) or "(none)"
    return str(value)


def _shown_rule(rule: RuleConfig) -> str:
    conditions = {
        item.name: getattr(rule, item.name) for item in fields(rule) if item.name not in ("expert", "category")
    }
    asked = [f"{name} {_words(value)}" for name, value in conditions.items() if value not in ((), None)]
    return f"{' and '.join(asked)} -> {rule.expert or f'category {rule.category}'}"


def _words(value: object) -> str:
    return "|".join(value) if isinstance(value, tuple) else str(value).lower()
