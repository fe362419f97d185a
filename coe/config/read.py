"""coe.toml → Config, or one ConfigError with every problem in the file.

Collects the problems that the readers of tables return and raises them together. Opens the one file and asks of paths
whether they exist; opens no model, asks no hub, imports no torch. What a source holds is checked by the catalogue.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from coe.config.card import CARD, card_paragraph
from coe.config.keys import KEYS
from coe.config.read_answer_cache import read_answer_cache
from coe.config.read_experts import START, read_experts
from coe.config.read_router import read_router
from coe.config.schema import (
    AccessConfig,
    CacheConfig,
    Config,
    EngineConfig,
    ExpertConfig,
    SchedulerConfig,
    ServerConfig,
    TelemetryConfig,
)
from coe.config.toml_fields import Checked, read_table
from coe.errors import ConfigError, nearest

__all__ = ["load_config"]

FROM_CARD = "card"  # the description that is read from the model's card
_TABLES = {"experts", *(name for name in KEYS if "." not in name)}


def load_config(path: str | Path) -> Config:
    """Return the configuration in the file `path`; raises ConfigError with the file and every problem found in it."""
    file = Path(path).expanduser().absolute()
    config, problems = _read_all(file, _parse(file))
    if config is None:
        heading = f"{file}: {len(problems)} problem{'s' if len(problems) > 1 else ''}"
        raise ConfigError("\n  ".join([heading, *problems]))
    return config


def _parse(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{file}: no such file; name another one, or {START}") from None
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror}); make it readable") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: not UTF-8 at byte {error.start}; save it as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file}: not TOML: {error}; correct that place") from error


def _read_all(file: Path, raw: Mapping[str, Any]) -> Checked[Config | None]:
    """Return the configuration, None if there is any problem."""
    folder = file.parent
    experts = read_experts(raw.get("experts", {}), folder)
    router = read_router(raw.get("router", {}), folder, experts.names, experts.kinds)
    answer_cache = read_answer_cache(raw.get("answer_cache", {}), folder)
    cache, engine, scheduler, server, access, telemetry = (
        read_table(raw.get(name, {}), f"[{name}]", KEYS[name], folder)
        for name in ("cache", "engine", "scheduler", "server", "access", "telemetry")
    )
    general = "" if router.value is None else router.value.general
    descriptions = _descriptions(experts.experts, general)
    problems = (
        *_unknown_tables(raw),
        *experts.problems,
        *router.problems,
        *cache.problems,
        *engine.problems,
        *_link_problems(engine.value),
        *scheduler.problems,
        *server.problems,
        *access.problems,
        *_access_problems(access.value),
        *answer_cache.problems,
        *telemetry.problems,
        *descriptions.problems,
    )
    if problems or router.value is None:
        return Checked(None, problems)
    return Checked(
        Config(
            file,
            experts.experts,
            replace(router.value, descriptions=descriptions.value),
            CacheConfig(**cache.value),
            EngineConfig(**engine.value),
            SchedulerConfig(**scheduler.value),
            ServerConfig(**server.value),
            AccessConfig(**access.value),
            answer_cache.value,
            TelemetryConfig(**telemetry.value),
        )
    )


def _descriptions(experts: Sequence[ExpertConfig], general: str) -> Checked[dict[str, str]]:
    """Return expert -> what it says of itself, or its model's card."""
    found: dict[str, str] = {}
    problems = []
    for expert in experts:
        where, text = f"[experts.{expert.name}] description", expert.description
        if text is None:
            continue
        if expert.name == general:
            problems.append(f"{where}: the general expert answers what no other one is described for; remove it")
        elif text != FROM_CARD:
            found[expert.name] = text
        elif (paragraph := card_paragraph(expert.source.folder) if expert.source.folder else None) is None:
            problems.append(
                f'{where} = "{FROM_CARD}": {expert.source} has no {CARD} with a paragraph; write one sentence'
            )
        else:
            found[expert.name] = paragraph
    return Checked(found, tuple(problems))


def _unknown_tables(raw: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(
        f"unknown table [{name}]; {nearest(name, _TABLES, 'known tables')}" for name in raw if name not in _TABLES
    )


def _link_problems(engine: Mapping[str, Any]) -> tuple[str, ...]:
    if "copy_link_bytes_per_s" not in engine or engine.get("device") == "emulated":
        return ()
    return (
        f"[engine] copy_link_bytes_per_s = {engine['copy_link_bytes_per_s']}: only the emulated device's copy link "
        'can be slowed down; remove it or write device = "emulated"',
    )


def _access_problems(access: Mapping[str, Any]) -> tuple[str, ...]:
    if "keys" not in access or not access.get("open"):
        return ()
    return ("[access] open = true lets everybody in, and keys are for letting some in; remove one of them",)
