"""The configured router in one call: `[router]` and the experts' names → what the runtime is handed as its Router.

The only module outside coe/cli that imports the package `router`. Knows nothing about experts but their names. Whether
a category or a language exists is checked by the router itself, whose complaints become ConfigErrors.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from coe.config.paths import cache_dir
from coe.config.schema import AnswerCacheConfig, RouterConfig
from coe.embedding.embedder import Embedder, LateEmbedder
from coe.errors import ConfigError, nearest
from coe.types import Router
from router.directory import Directory
from router.encoding.sentence_model import DEFAULT_SOURCE
from router.mapping import MappingFile, read_mapping_file
from router.model.artefact import Artefact, load_artefact
from router.model.versions import read_versions, served_folder, version_folder
from router.policy import RoutingPolicy
from router.router import GeneralOnly
from router.router import Router as TrainedRouter
from router.rules import Rule, Rules
from router.stickiness import DEFAULT_STICKINESS
from router.switch_price import SwitchPrice

__all__ = ["build_encoder", "build_router", "category_experts", "check_answer_cache", "check_router"]

if TYPE_CHECKING:
    from router.encoding.encoder import Encoder
    from router.labelled.prompts import Prompt

log = logging.getLogger("coe.assembly")


class _Shadow(NamedTuple):
    """The version in shadow, and the policy with its categories."""

    version: str
    artefact: Artefact
    policy: RoutingPolicy


class _Resolved(NamedTuple):
    """The table with the served version as its artefact, and one with the version in shadow."""

    config: RouterConfig
    shadow: RouterConfig | None


class _Configured(NamedTuple):
    """The policy, and the trained classifier's artefact: None where no category has to be known."""

    policy: RoutingPolicy
    artefact: Artefact | None


def build_router(
    config: RouterConfig, names: Mapping[str, str], answer_cache: AnswerCacheConfig | None = None
) -> Router:
    """Load the router that `[router]` describes, its encoder included; raises ConfigError.

    `names` is every name and alias, in lower case, with the name of its expert (`Config.names`). Without a classifier
    (`enabled = false`, or one expert) the router follows names, mentions and rules, and imports no torch. Decisions
    carry the encoder's vectors where an `answer_cache` compares them.
    """
    try:
        config, shadow = _resolved(config, names)
        policy, artefact = _configured(config, names)
        if artefact is None or not _classifies(config, names):
            return GeneralOnly.with_policy(policy, _categories(config, artefact))
        beside = None if shadow is None else _shadow(shadow, names, artefact)
        policy = policy.checked(_categories(config, artefact))  # refuse it before the encoder is loaded
        from router.encoding.encoder import Encoder  # torch

        encoder = Encoder(artefact.encoder_source, device=config.device)
        examples = _examples(config)
        whole = _with_described(config, policy, artefact, examples, encoder)
        router = TrainedRouter(whole, encoder, policy, shows_vectors=_compares_vectors(answer_cache))
        if beside is not None:
            extended = _with_described(config, beside.policy, beside.artefact, examples, encoder)
            router.decide_beside(beside.version, extended, beside.policy)
        return router
    except (ValueError, OSError) as error:
        raise ConfigError(f"[router] {error}") from error


def build_encoder(config: RouterConfig, router: Router) -> LateEmbedder:
    """Return what embeds clients' texts: the router's own encoder, else the one that it would have, loaded when asked.

    Raises ConfigError for an artefact that cannot be read.
    """
    try:
        trained = router if isinstance(router, TrainedRouter) else None
        source = _encoder_source(config, trained)
    except (ValueError, OSError) as error:
        raise ConfigError(f"[router] {error}") from error

    def load() -> Embedder:
        from router.encoding.encoder import Encoder  # torch

        own = trained.encoder if trained is not None else Encoder(source, device=config.device)
        assert isinstance(own, Encoder)
        return own.whole_texts()

    return LateEmbedder(tuple(dict.fromkeys((Path(source).name, source))), load)


def check_router(config: RouterConfig, names: Mapping[str, str]) -> None:
    """Raise ConfigError for what is wrong with `[router]`, without loading the encoder."""
    try:
        config, shadow = _resolved(config, names)
        policy, artefact = _configured(config, names)
        policy.checked(_categories(config, artefact))
        _examples(config)
        if shadow is not None and artefact is not None and _classifies(config, names):
            _shadow(shadow, names, artefact)
    except (ValueError, OSError) as error:
        raise ConfigError(f"[router] {error}") from error


def category_experts(config: RouterConfig, names: Mapping[str, str]) -> dict[str, str]:
    """Return each category that has an expert of its own, with that expert; empty where nothing is classified."""
    if not _classifies(config, names):
        return {}
    config, _ = _resolved(config, names)
    policy, artefact = _configured(config, names)
    known = _categories(config, artefact)
    return {category: expert for category, expert in policy.mapping.items() if category in known}


def check_answer_cache(answer_cache: AnswerCacheConfig, config: RouterConfig, names: Mapping[str, str]) -> None:
    """Raise ConfigError for a threshold of a category that the router does not have, or where it sorts nothing."""
    if not answer_cache.semantic:
        return
    if not _classifies(config, names):
        raise ConfigError(
            "[answer_cache.semantic]: the router sorts no prompts here, so none is near another; remove the table, or "
            "give the router two experts and enabled = true"
        )
    _, artefact = _configured(config, names)
    known = _categories(config, artefact)
    for category, threshold in answer_cache.semantic.items():
        if category not in known:
            where = f"[answer_cache.semantic] {category} = {threshold:g}"
            raise ConfigError(f"{where}: the router has no such category; {nearest(category, known, 'categories')}")


def _encoder_source(config: RouterConfig, trained: TrainedRouter | None) -> str:
    if trained is not None:
        return trained.encoder.source
    return DEFAULT_SOURCE if config.artefact is None else load_artefact(served_folder(config.artefact)).encoder_source


def _compares_vectors(answer_cache: AnswerCacheConfig | None) -> bool:
    return answer_cache is not None and answer_cache.enabled and bool(answer_cache.semantic)


def _classifies(config: RouterConfig, names: Mapping[str, str]) -> bool:
    return config.enabled and len(set(names.values())) > 1


def _needs_categories(config: RouterConfig, names: Mapping[str, str]) -> bool:
    return _classifies(config, names) or any(rule.category for rule in config.rules)


def _configured(config: RouterConfig, names: Mapping[str, str]) -> _Configured:
    needs_categories = _needs_categories(config, names)
    artefact = load_artefact(config.artefact, config.min_confidence) if needs_categories else None
    categories = _categories(config, artefact)
    mapped = MappingFile() if config.mapping is None or artefact is None else read_mapping_file(config.mapping)
    by_name = {category: names[category.lower()] for category in categories if category.lower() in names}
    policy = RoutingPolicy(
        Directory(names, config.general),
        _merged(by_name, mapped.mapping, config.categories),
        Rules([Rule(each.expert, each.category, each.language, each.keyword, each.has_tools) for each in config.rules]),
        SwitchPrice(config.score_per_second if artefact else 0.0, mapped),
        DEFAULT_STICKINESS if config.stickiness is None else config.stickiness,
    )
    return _Configured(policy, artefact)


def _categories(config: RouterConfig, artefact: Artefact | None) -> tuple[str, ...]:
    """Return the trained router's categories and those that experts describe."""
    return () if artefact is None else tuple(dict.fromkeys((*artefact.categories, *config.descriptions)))


def _examples(config: RouterConfig) -> Sequence[Prompt]:
    """Return the labelled prompts of described experts; raises ValueError for a file without one."""
    if config.examples is None:
        return ()
    if not config.descriptions:
        raise ValueError(
            f"examples = {config.examples.name}: no expert has a description; describe them, or train a router"
        )
    from router.labelled.bad_rows import lines_about
    from router.labelled.descriptions import check_examples
    from router.labelled.prompts import read_prompts

    found = read_prompts(config.examples)
    for line in lines_about(found.bad_rows) if found.bad_rows else ():
        log.warning("examples %s", line)
    check_examples(found.prompts, config.descriptions)
    return found.prompts


def _with_described(
    config: RouterConfig, policy: RoutingPolicy, artefact: Artefact, examples: Sequence[Prompt], encoder: Encoder
) -> Artefact:
    """Fit the categories that experts describe beside the trained ones, where there are any.

    It takes a second or two, most of it for encoding, whose vectors are kept in the cache folder.
    """
    artefact.check_encoder(encoder.id)
    if not config.descriptions:
        return artefact
    from router.encoding.cached_encoder import CachedEncoder
    from router.training.own.beside import with_described

    served = {category for category in artefact.categories if category in policy.mapping}
    log.info("described experts=%s examples=%d", ", ".join(config.descriptions), len(examples))
    try:
        cached = CachedEncoder(encoder, cache_dir() / "router")
        return with_described(artefact, config.descriptions, examples, served, cached)
    except OSError as error:
        log.warning("embeddings of descriptions and examples are not kept: %s", error)
        return with_described(artefact, config.descriptions, examples, served, encoder)


def _resolved(config: RouterConfig, names: Mapping[str, str]) -> _Resolved:
    """Read which versions decide, once: the state may change while they are loaded."""
    if config.artefact is None or not _needs_categories(config, names):
        return _Resolved(config, None)
    if (versions := read_versions(config.artefact)) is None:
        return _Resolved(config, None)
    log.info("router artefact=%s version=%s shadow=%s", config.artefact, versions.served, versions.shadow or "none")
    served = replace(config, artefact=version_folder(config.artefact, versions.served))
    if versions.shadow is None:
        return _Resolved(served, None)
    return _Resolved(served, replace(config, artefact=version_folder(config.artefact, versions.shadow)))


def _shadow(config: RouterConfig, names: Mapping[str, str], served: Artefact) -> _Shadow:
    """Load the version in shadow; raises ValueError for one that cannot decide beside the served one."""
    assert config.artefact is not None, "a shadow is a version of a folder"
    version = config.artefact.name
    try:
        policy, artefact = _configured(config, names)
        assert artefact is not None, "a shadow is asked for where the classifier is"
        artefact.check_encoder(served.encoder_id)
        return _Shadow(version, artefact, policy.checked(_categories(config, artefact)))
    except ValueError as error:
        remedy = "mend that, or take it out with `coe router rollback FOLDER --shadow`"
        raise ValueError(f"version {version}, which is in shadow, cannot be used: {error}; {remedy}") from error


def _merged(*mappings: Mapping[str, str]) -> dict[str, str]:
    """Return category -> expert; of one category in several spellings the last mapping's counts."""
    merged = {category.casefold(): (category, expert) for each in mappings for category, expert in each.items()}
    return dict(merged.values())
