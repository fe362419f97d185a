"""The configuration as frozen values: one dataclass per table of coe.toml, with its defaults.

Owns the tables, the words that a value may be (Device, Dtype, …) and the experts' names. Knows nothing about TOML, nor
what a source holds. A budget that is None is derived from the machine (budgets.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from coe.config.paths import cache_dir
from coe.text.output.call_formats import CallFormatName
from coe.types import Sampling

__all__ = [
    "COMPOSITION",
    "HUB_ID",
    "AccessConfig",
    "AnswerCacheConfig",
    "BaseCheck",
    "CacheConfig",
    "Config",
    "Device",
    "Dtype",
    "EngineConfig",
    "Eviction",
    "ExpertConfig",
    "ExpertKind",
    "RouterConfig",
    "RuleConfig",
    "SchedulerConfig",
    "SchedulingPolicyName",
    "ServerConfig",
    "Source",
    "StoreKind",
    "TelemetryConfig",
    "Weights",
    "names_of",
]

COMPOSITION = "coe"  # the model name of the whole composition: the router chooses; no expert may be called so
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")  # of a repository: owner/name

BaseCheck = Literal["on", "off"]
Device = Literal["auto", "cpu", "cuda", "emulated"]
Dtype = Literal["auto", "float32", "bfloat16", "float16"]
Eviction = Literal["value", "lru"]
ExpertKind = Literal["chat", "embedding", "rerank"]
SchedulingPolicyName = Literal["value", "fcfs"]
StoreKind = Literal["units", "in-place"]
Weights = Literal["full", "bfloat16", "int8"]


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
    """`[experts.<name>]`. `base` is a source of its own, also where coe.toml names another expert as the base.

    With `base_check` "on" an adapter whose own base has another name than `base` is refused. `kind` is what the expert
    is for: it answers prompts, or it makes vectors of texts, or scores of pairs of them; prompts go to the first alone.
    """

    name: str
    source: Source
    base: Source | None = None
    base_check: BaseCheck = "on"
    aliases: tuple[str, ...] = ()
    dtype: Dtype | None = None  # None: the engine's
    weights: Weights = "full"
    pin: bool = False
    keep_alive_s: float | None = None  # None: evicted only under pressure
    preload: bool = False
    fallbacks: tuple[str, ...] = ()  # names of experts, never aliases
    description: str | None = None  # one sentence: the category of the expert's own that it makes
    chat_template: Path | None = None  # None: the source's own
    tool_calls: CallFormatName | None = None  # in which form it writes them; None: as its template shows
    generation: Sampling = field(default_factory=Sampling)
    kind: ExpertKind = "chat"


@dataclass(frozen=True, slots=True)
class CacheConfig:
    """`[cache]`: budgets in bytes (None: derived from the machine), the store's folder, and how weights are evicted."""

    device_bytes: int | None = None
    host_bytes: int | None = None
    dir: Path = field(default_factory=lambda: cache_dir() / "store")
    store: StoreKind = "units"
    eviction: Eviction = "value"
    rehash_loads: bool = False


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """`[engine]`: where and how experts run. `max_tokens` is for requests that name none."""

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
    """`[scheduler]`: which expert runs next, and which requests are refused. `deadline_s` runs to the first token."""

    policy: SchedulingPolicyName = "value"
    max_queue: int = 256
    max_queue_per_expert: int = 128
    deadline_s: float = 300.0
    max_wait_s: float = 2.0
    slice_steps: int = 16


@dataclass(frozen=True, slots=True)
class RuleConfig:
    """One of `[[router.rules]]`: conditions that must all hold, and the expert or the category that they lead to.

    `expert` is a name, never an alias. Whether a language or category exists is checked by the router.
    """

    language: tuple[str, ...] = ()
    keyword: tuple[str, ...] = ()
    has_tools: bool | None = None
    expert: str | None = None
    category: str | None = None


@dataclass(frozen=True, slots=True)
class RouterConfig:
    """`[router]`: prompt to expert. `general` and the values of `categories` are names of experts, never aliases."""

    general: str
    artefact: Path | None = None  # None: the router that comes with coe
    min_confidence: float | None = None  # None: what the artefact was calibrated to
    enabled: bool = True
    mapping: Path | None = None  # the file that `coe router map --json` writes
    score_per_second: float = 0.0  # of loading; 0 takes the mapped expert wherever its weights are
    stickiness: float | None = None  # None: the router's own default
    device: str = "cpu"  # where prompts are encoded
    descriptions: Mapping[str, str] = field(default_factory=dict)  # expert -> one sentence
    examples: Path | None = None  # labelled prompts of described experts
    categories: Mapping[str, str] = field(default_factory=dict)
    rules: tuple[RuleConfig, ...] = ()


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """`[server]`: the address, and the limits of the HTTP endpoint.

    `header_timeout_s` and `body_timeout_s` are for all headers and all of a body to arrive, `reader_timeout_s` is how
    long a client may read nothing of an answer. `responses_bytes` is the room for responses that are kept, in memory;
    0 keeps none.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    drain_s: float = 30.0
    max_body_bytes: int = 8 * 1024**2
    max_connections: int = 512
    header_timeout_s: float = 20.0
    body_timeout_s: float = 60.0
    reader_timeout_s: float = 60.0
    responses_bytes: int = 64 * 1024**2


@dataclass(frozen=True, slots=True)
class AccessConfig:
    """`[access]`: who may ask. The last four are for keys that do not say them; without keys, for everybody together.

    `keys` is a file of names and hashes; `open` says that anybody who reaches the port may do everything.
    """

    keys: Path | None = None
    open: bool = False
    allowed_origins: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    max_concurrent: int | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    share_prefixes: str | None = None


@dataclass(frozen=True, slots=True)
class AnswerCacheConfig:
    """`[answer_cache]`: answers at temperature 0 that are given again to whoever asked before.

    `semantic` is category -> least cosine from which on one prompt's answer is another's; whether a category exists is
    checked with the router.
    """

    enabled: bool = False
    max_bytes: int = 64 * 10**6
    ttl_s: float = 3600.0
    exact: bool = True
    semantic: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TelemetryConfig:
    """`[telemetry]`: the last decisions, with or without the prompts, and the file of what people say of them."""

    keep_prompts: bool = False
    num_decisions: int = 1000
    feedback_file: Path | None = None


@dataclass(frozen=True, slots=True)
class Config:
    """All tables of a configuration that has no problems."""

    file: Path
    experts: tuple[ExpertConfig, ...]
    router: RouterConfig
    cache: CacheConfig = field(default_factory=CacheConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)
    scheduler: SchedulerConfig = field(default_factory=SchedulerConfig)
    server: ServerConfig = field(default_factory=ServerConfig)
    access: AccessConfig = field(default_factory=AccessConfig)
    answer_cache: AnswerCacheConfig = field(default_factory=AnswerCacheConfig)
    telemetry: TelemetryConfig = field(default_factory=TelemetryConfig)

    @property
    def names(self) -> dict[str, str]:
        """Every name and alias, in lower case, that a prompt may go to, with the name of its expert."""
        return names_of(expert for expert in self.experts if expert.kind == "chat")


def names_of(experts: Iterable[ExpertConfig]) -> dict[str, str]:
    """Return every name and alias, in lower case, with the name of its expert."""
    return {word.lower(): expert.name for expert in experts for word in (expert.name, *expert.aliases)}
