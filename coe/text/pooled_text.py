"""How an embedding or rerank expert reads text: its tokenizer, its prompts by kind, its context, and pairs of texts.

Called on the embedding thread. What is special in a text is special here, as in sentence-transformers: no template
stands between a client and the model. Knows nothing about pooling.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from tokenizers import Encoding, Tokenizer

from coe.embedding.requests import Text, TextKind
from coe.embedding.token_limits import TokenLimits
from coe.errors import SourceError
from coe.sources.sentence_files import SentenceUse
from coe.text.loading import TokenizerError, load_tokenizer

__all__ = ["PairTokens", "PooledText", "load_pooled_text"]

NAMES = {"query": ("query",), "document": ("document", "passage", "corpus")}  # as sentence-transformers looks them up


class PairTokens(NamedTuple):
    """The tokens of a query and a document; `second_from` is where the document begins, if models tell them apart."""

    token_ids: tuple[int, ...]
    second_from: int | None = None


@dataclass(frozen=True, slots=True)
class PooledText:
    """`max_tokens` may be infinite: the tokenizer names no limit. `limits` is of the expert with its network."""

    expert: str
    tokenizer: Tokenizer
    use: SentenceUse
    max_tokens: float
    num_last: int

    def limits(self, num_positions: int | None, num_rows: int) -> TokenLimits:
        """Return what the expert takes, whose network has so many positions and rows of its embedding."""
        most = min(self.max_tokens, math.inf if num_positions is None else num_positions)
        return TokenLimits(self.expert, most, num_rows, self.num_last)

    def read(
        self, text: Text, kind: TextKind | None, limits: TokenLimits, truncate_to: int | None, param: str
    ) -> tuple[int, ...]:
        """Return a text's tokens with its kind's prompt, without a kind the default one; raises as the limits do."""
        return limits.read(text, lambda each: self._encoded(self._prompt(kind) + each).ids, truncate_to, param)

    def read_pair(self, query: str, document: str, limits: TokenLimits, truncate_to: int | None) -> PairTokens:
        """Return the tokens of a pair; one that is too long is refused, or its document cut at its end."""
        cut = limits.cut(len(query) + len(document), truncate_to, "documents")
        encoding = self._encoded(query, document if cut is None else document[:cut])
        ids, owners = encoding.ids, encoding.sequence_ids
        second_from = next((at for at, kind in enumerate(encoding.type_ids) if kind == 1), None)
        places = [at for at, owner in enumerate(owners) if owner == 1]
        surplus = limits.surplus(len(ids), truncate_to, "documents")
        if surplus and surplus >= len(places):
            raise limits.too_long(len(ids) - len(places) + 1, "query")
        left = set(range(len(ids))) - set(places[len(places) - surplus :])
        return PairTokens(tuple(ids[at] for at in sorted(left)), second_from)

    def _prompt(self, kind: TextKind | None) -> str:
        if kind is None:
            return self.use.default_prompt
        return next((self.use.prompts[name] for name in NAMES[kind] if name in self.use.prompts), "")

    def _encoded(self, text: str, second: str | None = None) -> Encoding:
        texts = [self._clean(each) for each in (text, second) if each is not None]
        found: Encoding = self.tokenizer.encode_batch_fast([texts[0] if second is None else tuple(texts)])[0]
        return found

    def _clean(self, text: str) -> str:
        text = text.encode("utf-8", "replace").decode()  # lone surrogates
        return text.lower() if self.use.is_lower_case else text


def load_pooled_text(expert: str, folder: str, use: SentenceUse) -> PooledText:
    """Return how an expert reads text; raises SourceError, in its name, for a tokenizer that cannot be used."""
    try:
        loaded = load_tokenizer(folder)
    except TokenizerError as error:
        raise SourceError(expert, str(error)) from error
    tokenizer: Tokenizer = loaded.backend_tokenizer
    empty, one = ([*reversed(tokenizer.encode(text).ids)] for text in ("", "a"))
    num_last = next(
        (at for at, (x, y) in enumerate(zip(empty, one, strict=False)) if x != y), min(len(empty), len(one))
    )
    most = min(loaded.model_max_length, use.max_tokens or math.inf)
    return PooledText(expert, tokenizer, use, math.inf if most > 10**9 else most, num_last)
