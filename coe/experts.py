"""The experts of a composition by name: those that can be asked, and the errors of those that cannot be had."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from coe.config.schema import ExpertKind
from coe.embedding.token_limits import TokenLimits
from coe.engine.loaded_expert import LoadedExpert
from coe.errors import ExpertError, InvalidRequestError, UnknownExpertError, nearest, shown
from coe.text.pooled_text import PooledText
from coe.text.templates import ExpertText
from coe.types import RouteQuery, Sampling

__all__ = ["Experts", "PooledExpert", "ServedExpert", "identity_of"]


_MENTION = re.compile(r"\s*@(\S{1,1000})")  # of an expert that the router does not know
_AFTER_NAME = ",:;.!?)"


@dataclass(frozen=True, slots=True)
class ServedExpert:
    """An expert that can be asked: what runs it, how it reads and writes, and what it is called."""

    loaded: LoadedExpert
    text: ExpertText
    aliases: tuple[str, ...] = ()
    defaults: Sampling = field(default_factory=Sampling)
    is_pinned: bool = False
    is_preloaded: bool = False

    @property
    def kind(self) -> ExpertKind:
        return "chat"

    @property
    def context(self) -> int:
        return self.text.context

    @property
    def notes(self) -> tuple[str, ...]:
        return self.text.notes


@dataclass(frozen=True, slots=True)
class PooledExpert:
    """An expert of kind "embedding" or "rerank": no prompt goes to it. `num_dims` is the size of its vectors."""

    loaded: LoadedExpert
    kind: ExpertKind
    text: PooledText
    limits: TokenLimits
    num_dims: int
    aliases: tuple[str, ...] = ()
    is_pinned: bool = False
    is_preloaded: bool = False

    @property
    def context(self) -> int:
        return self.limits.context

    @property
    def notes(self) -> tuple[str, ...]:
        return ()


def identity_of(expert: ServedExpert) -> str:
    """Return a hash of all that an expert's answers depend on: weights, dtype, tokenizer, template, defaults."""
    manifest, text = expert.loaded.manifest, expert.text
    facts = [
        [unit.hash for unit in manifest.units],
        manifest.dtype,
        manifest.config,
        hashlib.sha256(text.tokenizer.to_str().encode()).hexdigest(),
        text.template,
        asdict(expert.defaults),
    ]
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Experts:
    """`served` by name, `errors` of the others by name; `names` maps every name and alias in lower case to a name.

    `fallbacks` answer, in order, where the expert of that name was asked for and cannot. `descriptions` are sentences
    by name, of those experts that have one. `pooled` are by name those that make vectors and scores; they are not among
    `served`, which answer prompts.
    """

    served: Mapping[str, ServedExpert]
    errors: Mapping[str, ExpertError]
    names: Mapping[str, str]
    fallbacks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    descriptions: Mapping[str, str] = field(default_factory=dict)
    pooled: Mapping[str, PooledExpert] = field(default_factory=dict)

    @property
    def all_kinds(self) -> tuple[ServedExpert | PooledExpert, ...]:
        """All that can be asked for something."""
        return (*self.served.values(), *self.pooled.values())

    @property
    def longest_context(self) -> int:
        """The most tokens that any expert can be given."""
        return max((expert.text.context for expert in self.served.values()), default=0)

    def name_of(self, word: str) -> str:
        """Return the expert that a name or alias means, in any case; raises UnknownExpertError."""
        name = self.names.get(word.lower())
        if name is None:
            hint = nearest(word, self.names.values(), "the experts are")
            raise UnknownExpertError(f"there is no expert {shown(word)}; {hint}", param="model")
        return name

    def get(self, name: str) -> ServedExpert:
        """Return an expert that answers prompts, by its own name; raises its error if it cannot be had."""
        if name in self.errors:
            raise self.errors[name].with_traceback(None)  # one instance for all: each raise would add to its traceback
        if name in self.pooled:
            raise self.no_prompts(name)
        return self.served[name]

    def no_prompts(self, name: str) -> InvalidRequestError:
        """Return the error for a prompt that is to go to an expert of another kind."""
        kind = self.pooled[name].kind
        endpoint = "/v1/embeddings or /v1/rerank" if kind == "embedding" else "/v1/rerank"
        words = f"expert '{name}' is of kind \"{kind}\" and answers no prompts; ask it at {endpoint}"
        return InvalidRequestError(words, param="model")

    def check_answers(self, query: RouteQuery) -> None:
        """Raise for a query that names an unknown expert, or, perhaps by a mention, one that answers no prompts."""
        if query.expert is not None:
            name: str | None = self.name_of(query.expert)
        else:
            last = next((each.content for each in reversed(query.messages) if each.role == "user"), "")
            mention = _MENTION.match(last)
            name = self.names.get(mention[1].rstrip(_AFTER_NAME).lower()) if mention else None
        if name is not None and name in self.pooled:
            raise self.no_prompts(name)

    def loaded(self, word: str) -> LoadedExpert:
        """Return what runs an expert of any kind, by a name or alias; raises as `find` does."""
        name = self.name_of(word)
        return self.pooled[name].loaded if name in self.pooled else self.get(name).loaded

    def find(self, word: str) -> ServedExpert:
        """Return the expert that a name or alias means; raises UnknownExpertError, or the expert's own error."""
        return self.get(self.name_of(word))
