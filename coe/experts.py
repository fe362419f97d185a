"""The experts of a composition by name: those that can be asked, and the errors of those that cannot be had."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from coe.engine.loaded_expert import LoadedExpert
from coe.errors import ExpertError, UnknownExpertError
from coe.text.templates import ExpertText
from coe.types import Sampling

__all__ = ["Experts", "ServedExpert"]


@dataclass(frozen=True, slots=True)
class ServedExpert:
    """An expert that can be asked: what runs it, how it reads and writes, and what it is called."""

    loaded: LoadedExpert
    text: ExpertText
    aliases: tuple[str, ...] = ()
    defaults: Sampling = field(default_factory=Sampling)
    is_pinned: bool = False
    is_preloaded: bool = False


@dataclass(frozen=True, slots=True)
class Experts:
    """`served` by name, `errors` of the others by name; `names` maps every name and alias in lower case to a name.

    `fallbacks` answer, in order, where the expert of that name was asked for and cannot.
    """

    served: Mapping[str, ServedExpert]
    errors: Mapping[str, ExpertError]
    names: Mapping[str, str]
    fallbacks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def name_of(self, word: str) -> str:
        """Return the expert that a name or alias means, in any case; raises UnknownExpertError."""
        name = self.names.get(word.lower())
        if name is None:
            known = ", ".join(dict.fromkeys(self.names.values()))
            raise UnknownExpertError(f"there is no expert '{word}'; the experts are: {known}", param="model")
        return name

    def get(self, name: str) -> ServedExpert:
        """Return an expert by its own name; raises its error if it cannot be had."""
        if name in self.errors:
            raise self.errors[name].with_traceback(None)  # one instance for all: each raise would add to its traceback
        return self.served[name]

    def find(self, word: str) -> ServedExpert:
        """Return the expert that a name or alias means; raises UnknownExpertError, or the expert's own error."""
        return self.get(self.name_of(word))
