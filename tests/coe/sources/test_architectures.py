"""Which architectures a kind of expert may have."""

from __future__ import annotations

import pytest

from coe.errors import SourceError
from coe.sources.architectures import check_architecture


@pytest.mark.parametrize(
    ("kind", "model_type", "written"),
    [
        ("chat", "llama", ["LlamaForCausalLM"]),
        ("chat", "llama", []),
        ("embedding", "bert", ["BertModel"]),
        ("embedding", "qwen3", ["Qwen3ForCausalLM"]),
        ("rerank", "xlm-roberta", ["XLMRobertaForSequenceClassification"]),
    ],
)
def test_a_model_of_its_kind_passes(kind: str, model_type: str, written: list[str]) -> None:
    check_architecture("x", kind, model_type, written)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "model_type", "written", "message"),
    [
        ("chat", "bert", ["BertModel"], 'BertModel is not a causal language model; name one, or say .*"embedding"'),
        ("rerank", "bert", ["BertModel"], "BertModel is not a classifier of sequences"),
        ("embedding", "nothing", [], "gives no token states"),
    ],
)
def test_any_other_is_refused(kind: str, model_type: str, written: list[str], message: str) -> None:
    with pytest.raises(SourceError, match=message):
        check_architecture("x", kind, model_type, written)  # type: ignore[arg-type]
