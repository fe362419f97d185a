"""A configuration in words, a line per fact, as `coe config check` prints it. Knows nothing about the machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields

from coe.config.schema import Config, ExpertConfig, RuleConfig

__all__ = ["describe"]

_EMPTY = {"categories": "(by the experts' names)", "descriptions": "(none)"}


def describe(config: Config) -> str:
    """Return every expert and every setting, defaults included, one a line."""
    lines = [f"configuration {config.file}", f"experts ({len(config.experts)})"]
    lines += [f"  {_expert_line(expert)}" for expert in config.experts]
    for name in ("router", "cache", "engine", "scheduler", "server", "access", "answer_cache", "telemetry"):
        table = getattr(config, name)
        lines.append(name)
        absent = {"access": "(none)", "answer_cache": "(off)", "telemetry": "(off)"}.get(name, "(derived at start)")
        lines += [
            f"  {item.name} = {_in_words(getattr(table, item.name), _EMPTY.get(item.name, absent))}"
            for item in fields(table)
        ]
    return "\n".join(lines)


def _expert_line(expert: ExpertConfig) -> str:
    facts = [f"{expert.name}: {expert.source}"]
    facts += [f"kind {expert.kind}"] if expert.kind != "chat" else []
    facts += [f"base {expert.base}"] if expert.base else []
    facts += ["base not checked"] if expert.base_check == "off" else []
    facts += ["described"] if expert.description else []
    facts += [f"also called {', '.join(expert.aliases)}"] if expert.aliases else []
    facts += [f"dtype {expert.dtype}"] if expert.dtype else []
    facts += [f"weights {expert.weights}"] if expert.weights != "full" else []
    facts += [f"calls tools in the form {expert.tool_calls}"] if expert.tool_calls else []
    facts += ["pinned"] if expert.pin else []
    facts += ["preloaded"] if expert.preload else []
    facts += [f"in its place {', '.join(expert.fallbacks)}"] if expert.fallbacks else []
    facts += [f"kept {expert.keep_alive_s:g} s"] if expert.keep_alive_s is not None else []
    return ", ".join(facts)


def _in_words(value: object, absent: str) -> str:
    if value is None:
        return absent
    if isinstance(value, Mapping):
        return ", ".join(_pair_in_words(key, each) for key, each in value.items()) or absent
    if isinstance(value, tuple):
        return (
            "; ".join(_rule_in_words(each) if isinstance(each, RuleConfig) else str(each) for each in value) or "(none)"
        )
    return str(value)


def _pair_in_words(key: str, value: object) -> str:
    return f"{key} from {value:g}" if isinstance(value, float) else f"{key} -> {value}"


def _rule_in_words(rule: RuleConfig) -> str:
    conditions = {
        item.name: getattr(rule, item.name) for item in fields(rule) if item.name not in ("expert", "category")
    }
    asked = [f"{name} {_condition(value)}" for name, value in conditions.items() if value not in ((), None)]
    return f"{' and '.join(asked)} -> {rule.expert or f'category {rule.category}'}"


def _condition(value: object) -> str:
    return "|".join(value) if isinstance(value, tuple) else str(value).lower()
