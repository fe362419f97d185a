"""Which of transformers' architectures an expert of a kind may have. Knows nothing about weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from coe.errors import SourceError

__all__ = ["check_architecture"]

Kind = Literal["chat", "embedding", "rerank"]


def check_architecture(expert: str, kind: Kind, model_type: str, written: Sequence[str]) -> None:
    """Raise SourceError for a model that is none of its kind; `written` is what its config.json names, if anything.

    A model that answers prompts is a causal language model, one that reranks a classifier of sequences. Vectors come
    from any model with token states.
    """
    from transformers.models.auto import modeling_auto as known

    if kind == "embedding":
        if model_type not in known.MODEL_MAPPING_NAMES:
            raise SourceError(expert, f"a '{model_type}' gives no token states to make vectors of; name another model")
        return
    is_chat = kind == "chat"
    table = (
        known.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES if is_chat else known.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES
    )
    wanted = table.get(model_type)
    if wanted is not None and (not written or wanted in written):
        return
    what = "causal language model; name one" if is_chat else "classifier of sequences, which scores pairs; name one"
    hint = ', or say what it is for: kind = "embedding" or "rerank"' if is_chat else ""
    raise SourceError(expert, f"{written[0] if written else model_type} is not a {what}{hint}")
