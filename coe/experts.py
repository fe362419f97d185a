"""The experts of a composition by name: those that can be asked, and the errors of those that cannot be had."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from coe.engine.loaded_expert import LoadedExpert
from coe.errors import ExpertError, UnknownExpertError, shown
from coe.text.templates import ExpertText
from coe.types import Sampling

__all__ = ["Experts", "ServedExpert", "identity_of"]


@dataclass(frozen=True, slots=True)
class ServedExpert:
    """An expert that can be asked: what runs it, how it reads and writes, and what it is called."""

    loaded: LoadedExpert
    text: ExpertText
    aliases: tuple[str, ...] = ()
    defaults: Sampling = field(default_factory=Sampling)
    is_pinned: bool = False
    is_preloaded: bool = False


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
    by name, of those experts that have one.
    """

    served: Mapping[str, ServedExpert]
    errors: Mapping[str, ExpertError]
    names: Mapping[str, str]
    fallbacks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    descriptions: Mapping[str, str] = field(default_factory=dict)

    @property
    def longest_context(self) -> int:
        """The most tokens that any expert can be given."""
        return max((expert.text.context for expert in self.served.values()), default=0)

    def name_of(self, word: str) -> str:
        """Return the expert that a name or alias means, in any case; raises UnknownExpertError."""
        name = self.names.get(word.lower())
        if name is None:
            known = ", ".join(dict.fromkeys(self.names.values()))
            raise UnknownExpertError(f"there is no expert {shown(word)}; the experts are: {known}", param="model")
        return name

    def get(self, name: str) -> ServedExpert:
        """Return an expert by its own name; raises its error if it cannot be had."""
        if name in self.errors:
            raise self.errors[name].with_traceback(None)  # one instance for all: each raise would add to its traceback
        return self.served[name]

    def find(self, word: str) -> ServedExpert:
        """Return the expert that a name or alias means; raises UnknownExpertError, or the expert's own error."""
        return self.get(self.name_of(word))
