"""Imported experts made ready to be asked: a backend, a tokenizer and template, generation defaults.

One expert that cannot be served does not stop the others: its error is returned beside what can be.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from coe.assembly.backends import Backends, Choice, choose
from coe.assembly.forms import rounds_prompts
from coe.assembly.import_experts import Imported
from coe.assembly.processor import Processor
from coe.config.budgets import Budgets
from coe.engine.loaded_expert import LoadedExpert
from coe.errors import ExpertError
from coe.experts import PooledExpert, ServedExpert
from coe.models.pooled import Reading
from coe.sources.refusals import Refusals
from coe.sources.sentence_files import read_pair_use, read_scoring, read_sentence_use
from coe.text.loading import load_text
from coe.text.pooled_text import PooledText, load_pooled_text
from coe.text.templates import ExpertText
from coe.types import Sampling
from coe.weights.residency.fit import check_fits

__all__ = ["Prepared", "PreparedPooled", "Readiness", "Serving", "prepare", "serve"]

log = logging.getLogger("coe.assembly.serve")


@dataclass(frozen=True, slots=True)
class Prepared:
    """An imported expert whose backend is chosen and whose text is loaded; its model is not built yet."""

    imported: Imported
    choice: Choice
    text: ExpertText


@dataclass(frozen=True, slots=True)
class PreparedPooled:
    """An imported expert of another kind than chat, and what is read of its states; its model is not built yet."""

    imported: Imported
    reading: Reading
    text: PooledText


class Readiness(NamedTuple):
    """Experts that can be served, those of other kinds than chat apart, and the errors of the others by name."""

    experts: tuple[Prepared, ...]
    pooled: tuple[PreparedPooled, ...]
    errors: Mapping[str, ExpertError]


def prepare(imported: Sequence[Imported], processor: Processor, budgets: Budgets) -> Readiness:
    """Choose a backend for each expert, load its text and check that it fits."""
    prepared: list[Prepared] = []
    pooled: list[PreparedPooled] = []
    refusals = Refusals()
    for expert in imported:
        with refusals.guard(expert.spec.name, "served"):
            if expert.spec.kind == "chat":
                prepared.append(_prepare(expert, processor, budgets))
            else:
                pooled.append(_prepare_pooled(expert, budgets))
    return Readiness(tuple(prepared), tuple(pooled), refusals.errors)


def _prepare(expert: Imported, processor: Processor, budgets: Budgets) -> Prepared:
    spec, manifest = expert.spec, expert.manifest
    choice = choose(spec.name, manifest, processor, rounds_prompts=rounds_prompts(spec, processor))
    text = load_text(
        spec.name,
        manifest.tokenizer_dir,
        manifest.config,
        manifest.generation_config,
        spec.chat_template,
        None if spec.adapter is None else str(spec.folder),
        spec.tool_calls,
    )
    form = text.answer_form
    log.info("expert=%s tool_calls=%s thoughts=%s", spec.name, form.calls, form.thoughts and form.thoughts.opening)
    for note in text.notes:
        log.warning("expert=%s note=%s", spec.name, note)
    _check_fits(expert, budgets, is_streamable=choice.shape is not None)
    return Prepared(expert, choice, text)


def _prepare_pooled(expert: Imported, budgets: Budgets) -> PreparedPooled:
    spec, manifest = expert.spec, expert.manifest
    if spec.kind == "embedding":
        use = read_sentence_use(spec.name, spec.folder)
        reading = Reading(use.mode, use.is_normalised)
    else:
        use = read_pair_use(spec.name, spec.folder)
        reading = Reading(scoring=read_scoring(spec.name, manifest.config))
    text = load_pooled_text(spec.name, manifest.tokenizer_dir, use)
    _check_fits(expert, budgets, is_streamable=False)
    return PreparedPooled(expert, reading, text)


def _check_fits(expert: Imported, budgets: Budgets, *, is_streamable: bool) -> None:
    check_fits(
        expert.spec.name,
        expert.manifest,
        is_streamable=is_streamable,
        host_bytes=budgets.host_bytes,
        device_bytes=budgets.device_bytes,
    )


class Serving(NamedTuple):
    """Experts with their models by name, those of other kinds than chat apart, and the errors of the others."""

    experts: Mapping[str, ServedExpert]
    pooled: Mapping[str, PooledExpert]
    errors: Mapping[str, ExpertError]


def serve(prepared: Readiness, backends: Backends, max_tokens: int) -> Serving:
    """Build the models that the experts need; requests that name no `max_tokens` get these."""
    served: dict[str, ServedExpert] = {}
    pooled: dict[str, PooledExpert] = {}
    refusals = Refusals()
    for expert in prepared.experts:
        name = expert.imported.spec.name
        with refusals.guard(name, "bound to its backend"):
            served[name] = _serve(expert, backends, max_tokens)
    for other in prepared.pooled:
        name = other.imported.spec.name
        with refusals.guard(name, "bound to its backend"):
            pooled[name] = _serve_pooled(other, backends)
    return Serving(served, pooled, refusals.errors)


def _serve(prepared: Prepared, backends: Backends, max_tokens: int) -> ServedExpert:
    spec, manifest = prepared.imported.spec, prepared.imported.manifest
    model = backends.model_for(manifest, prepared.choice)
    log.info("expert=%s backend=%s bytes=%d", spec.name, model.backend, manifest.size_bytes)
    return ServedExpert(
        loaded=LoadedExpert(spec.name, manifest, model, spec.keep_alive_s),
        text=prepared.text,
        aliases=spec.aliases,
        defaults=_defaults(spec.generation, max_tokens),
        is_pinned=spec.pin,
        is_preloaded=spec.preload,
    )


def _serve_pooled(prepared: PreparedPooled, backends: Backends) -> PooledExpert:
    spec, manifest = prepared.imported.spec, prepared.imported.manifest
    model = backends.pooled_for(manifest, prepared.reading)
    log.info("expert=%s kind=%s backend=%s bytes=%d", spec.name, spec.kind, model.backend, manifest.size_bytes)
    return PooledExpert(
        loaded=LoadedExpert(spec.name, manifest, model, spec.keep_alive_s),
        kind=spec.kind,
        text=prepared.text,
        limits=prepared.text.limits(model.max_tokens, model.num_rows),
        num_dims=model.num_dims,
        aliases=spec.aliases,
        is_pinned=spec.pin,
        is_preloaded=spec.preload,
    )


def _defaults(chosen: Sampling, max_tokens: int) -> Sampling:
    return replace(
        chosen,
        max_tokens=chosen.max_tokens or max_tokens,
        temperature=1.0 if chosen.temperature is None else chosen.temperature,
        top_p=1.0 if chosen.top_p is None else chosen.top_p,
        top_k=chosen.top_k or 0,
        min_p=chosen.min_p or 0.0,
        repetition_penalty=1.0 if chosen.repetition_penalty is None else chosen.repetition_penalty,
        presence_penalty=chosen.presence_penalty or 0.0,
        frequency_penalty=chosen.frequency_penalty or 0.0,
    )
