"""Log-probabilities in OpenAI's two shapes: a list of objects, and the parallel lists of legacy completions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from coe.types import TokenLogprob

__all__ = ["chat_logprobs", "completion_logprobs"]


def chat_logprobs(tokens: Sequence[TokenLogprob]) -> list[dict[str, Any]]:
    """An object for each token, with the likeliest ones in its place."""
    return [{**_chat_token(token), "top_logprobs": [_chat_token(top) for top in token.top]} for token in tokens]


def _chat_token(token: TokenLogprob) -> dict[str, Any]:
    return {"token": token.text, "logprob": token.logprob, "bytes": list(token.bytes)}


def completion_logprobs(tokens: Sequence[TokenLogprob], offset: int) -> dict[str, Any]:
    """Parallel lists. `top_logprobs` has the chosen token, too, and is None for the first token of a prompt."""
    offsets = []
    for token in tokens:
        offsets.append(offset)
        offset += len(token.text)
    tops = [{**{top.text: top.logprob for top in token.top}, token.text: token.logprob} for token in tokens]
    return {
        "tokens": [token.text for token in tokens],
        "token_logprobs": [token.logprob for token in tokens],
        "top_logprobs": [None if token.logprob is None else top for token, top in zip(tokens, tops, strict=True)],
        "text_offset": offsets,
    }
