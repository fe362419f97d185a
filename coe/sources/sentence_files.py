"""How a folder wants its token states made into a vector, and its scores read: sentence-transformers' files as data.

Owns reading modules.json, the pooling, the prompts and the length that stand there, and the activation of a classifier.
Refuses by name what it cannot follow, since other numbers than the model's would come out. The router reads its
encoder's files by itself: it imports nothing of coe. Knows nothing about tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from coe.errors import SourceError
from coe.sources.json_files import json_object, json_value

__all__ = ["PoolingMode", "Scoring", "SentenceUse", "read_pair_use", "read_scoring", "read_sentence_use"]

PoolingMode = Literal["mean", "cls", "max", "lasttoken"]
Scoring: TypeAlias = Literal["sigmoid", "logit", "second"]  # of two labels the probability of the second

MODULES = ("Transformer", "Pooling", "Normalize")
MODES: Mapping[str, PoolingMode] = {"mean": "mean", "cls": "cls", "max": "max", "lasttoken": "lasttoken"}


@dataclass(frozen=True, slots=True)
class SentenceUse:
    """`prompts` by name; `default_prompt` stands in front of a text of no kind. `max_tokens` None: the network's."""

    mode: PoolingMode = "mean"
    is_normalised: bool = False
    prompts: Mapping[str, str] = field(default_factory=dict)
    default_prompt: str = ""
    max_tokens: int | None = None
    is_lower_case: bool = False


def read_sentence_use(expert: str, folder: Path) -> SentenceUse:
    """Return what a folder prescribes; a plain transformers folder is mean-pooled. Raises SourceError."""
    modules = _modules(expert, folder)
    if modules and "Pooling" not in modules:
        raise SourceError(expert, f"{folder / 'modules.json'} has no Pooling, so its states make no vector")
    pooling = _object(expert, modules.get("Pooling", folder / "1_Pooling") / "config.json")
    lengths = _object(expert, folder / "sentence_bert_config.json")
    told = _object(expert, folder / "config_sentence_transformers.json")
    prompts = _prompts(expert, folder, told)
    if pooling.get("include_prompt") is False and any(prompts.values()):
        raise SourceError(expert, f"{folder}: its prompts are left out of the pooling, which is not supported")
    return SentenceUse(
        _mode(expert, folder, pooling),
        "Normalize" in modules,
        prompts,
        prompts.get(str(told.get("default_prompt_name")), ""),
        _length(expert, folder, lengths.get("max_seq_length")),
        bool(lengths.get("do_lower_case")),
    )


def read_pair_use(expert: str, folder: Path) -> SentenceUse:
    """Return what a classifier's folder prescribes for its pairs: how long they are at most. Raises SourceError."""
    lengths = _object(expert, folder / "sentence_bert_config.json")
    return SentenceUse(max_tokens=_length(expert, folder, lengths.get("max_seq_length")))


def read_scoring(expert: str, config: Mapping[str, Any]) -> Scoring:
    """Return how a classifier's logits become one score: as sentence-transformers' CrossEncoder does for one label.

    One logit goes through a sigmoid unless config.json says that it is the score itself. Raises SourceError for others.
    """
    num_labels = len(config["id2label"]) if config.get("id2label") else config.get("num_labels", 2)
    if num_labels == 2:
        return "second"
    if num_labels != 1:
        raise SourceError(expert, f"its classifier has {num_labels} labels, a reranker one or two; name another")
    told = config.get("sentence_transformers")
    own = told.get("activation_fn") if isinstance(told, Mapping) else None
    written = own or config.get("sbert_ce_default_activation_function") or "Sigmoid"
    name = str(written).rsplit(".", 1)[-1]
    if name not in ("Sigmoid", "Identity"):
        raise SourceError(expert, f"its activation {name} is not supported; Sigmoid and Identity are")
    return "sigmoid" if name == "Sigmoid" else "logit"


def _modules(expert: str, folder: Path) -> dict[str, Path]:
    path = folder / "modules.json"
    rows = json_value(expert, path) if path.is_file() else []
    try:
        found = {str(row["type"]).rsplit(".", 1)[-1]: folder / str(row["path"]) for row in rows}
    except (TypeError, KeyError) as error:
        raise SourceError(expert, f"{path} is not a list of modules with type and path; fetch it again") from error
    if unknown := [name for name in found if name not in MODULES]:
        raise SourceError(expert, f"{path}: module '{unknown[0]}' is not supported; {', '.join(MODULES)} are")
    if found.get("Transformer", folder) != folder:
        raise SourceError(expert, f"{path}: its Transformer lies in a folder of its own, which is not read")
    return found


def _mode(expert: str, folder: Path, config: Mapping[str, Any]) -> PoolingMode:
    """Return the one pooling mode that is set, in the newer form or by the older flags."""
    flags = [name for name, is_set in config.items() if name.startswith("pooling_mode_") and is_set is True]
    older = [flag.removeprefix("pooling_mode_").removesuffix("_tokens").removesuffix("_token") for flag in flags]
    newer = config.get("pooling_mode")
    modes = older or ["mean"] if newer is None else newer if isinstance(newer, list) else [newer]
    if len(modes) != 1 or modes[0] not in MODES:
        raise SourceError(expert, f"{folder}: pooling {modes} is not supported; one of {', '.join(MODES)} is")
    return MODES[modes[0]]


def _prompts(expert: str, folder: Path, told: Mapping[str, Any]) -> dict[str, str]:
    prompts, name = told.get("prompts") or {}, told.get("default_prompt_name")
    if not isinstance(prompts, dict) or not all(isinstance(text, str) for text in prompts.values()):
        raise SourceError(expert, f"{folder}: its prompts are not texts by name; fetch it again")
    if name is not None and name not in prompts:
        raise SourceError(
            expert, f"{folder}: default_prompt_name '{name}' is none of its prompts: {', '.join(prompts)}"
        )
    return prompts


def _length(expert: str, folder: Path, value: object) -> int | None:
    if value is not None and (type(value) is not int or value < 1):
        raise SourceError(
            expert, f"{folder}: max_seq_length = {value!r}: expected a whole number from 1; fetch it again"
        )
    return value


def _object(expert: str, path: Path) -> dict[str, Any]:
    return json_object(expert, path) if path.is_file() else {}
