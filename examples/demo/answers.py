"""What one expert makes of rows: greedy answers judged by their check, or the likelihood of the reference.

Owns the model while it is loaded (transformers in float32, an adapter merged into the base). Knows nothing about
routing, tables or which expert a row belongs to. An answer that can no longer pass its check is not generated to its
end, which changes no score.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor
from torch.nn import functional
from transformers import AutoModelForCausalLM, AutoTokenizer, StoppingCriteriaList

from .checks import CHECKS, can_still_match
from .encode import IGNORED, answer_states, collate, encode_example, prompt_text
from .rows import Row

BATCH_ROWS = 16
MAX_NEW_TOKENS = {"last_number": 256, "first_word": 8}


@dataclass(frozen=True, slots=True)
class Result:
    """An expert on a row. `score` is 0 or 1, or exp(-nll) where the check is `loss`; higher is better."""

    id: str
    score: float
    nll: float | None = None
    answer: str | None = None


class CannotMatch:
    """A stopping criterion for `generate`: ends a row as soon as its answer can no longer pass."""

    def __init__(self, tokenizer: Any, rows: Sequence[Row], prompt_length: int) -> None:
        self.tokenizer, self.rows, self.prompt_length = tokenizer, rows, prompt_length

    def __call__(self, input_ids: Tensor, scores: Tensor, **kwargs: Any) -> Tensor:  # noqa: ARG002
        texts = self.tokenizer.batch_decode(input_ids[:, self.prompt_length :], skip_special_tokens=True)
        over = [not can_still_match(row.check, text, row.gold) for row, text in zip(self.rows, texts, strict=True)]
        return torch.tensor(over, device=input_ids.device)


class Answerer:
    """The base, with the adapter in a folder merged into it if there is one."""

    def __init__(self, base: Path, adapter: Path | None, device: torch.device) -> None:
        self.device = device
        self.tokenizer: Any = AutoTokenizer.from_pretrained(base, local_files_only=True, padding_side="left")
        model: Any = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, local_files_only=True)
        if adapter is not None:
            model = PeftModel.from_pretrained(model, adapter).merge_and_unload()
        self.model: Any = model.to(device).eval()

    def results(self, rows: Sequence[Row]) -> Iterator[list[Result]]:
        """Batches of results, in an order that keeps similar lengths together."""
        ordered = sorted(rows, key=lambda row: (row.check, len(row.answer), len(row.prompt)))
        for check in dict.fromkeys(row.check for row in ordered):
            same = [row for row in ordered if row.check == check]
            for start in range(0, len(same), BATCH_ROWS):
                batch = same[start : start + BATCH_ROWS]
                yield self.likelihoods(batch) if check == "loss" else self.judged(batch)

    def max_new_tokens(self, rows: Sequence[Row]) -> int:
        """Enough for every reference of the batch, written in the least economical way."""
        if rows[0].check in MAX_NEW_TOKENS:
            return MAX_NEW_TOKENS[rows[0].check]
        longest = max(len(self.tokenizer.encode(row.gold, add_special_tokens=False)) for row in rows)
        return longest + longest // 2 + 8

    @torch.no_grad()
    def judged(self, rows: Sequence[Row]) -> list[Result]:
        """Greedy answers and whether they pass."""
        texts = [prompt_text(self.tokenizer, row.prompt) for row in rows]
        encoded = self.tokenizer(texts, add_special_tokens=False, padding=True, return_tensors="pt").to(self.device)
        prompt_length = encoded["input_ids"].shape[1]
        output = self.model.generate(
            **encoded,
            do_sample=False,
            max_new_tokens=self.max_new_tokens(rows),
            pad_token_id=self.tokenizer.pad_token_id,
            stopping_criteria=StoppingCriteriaList([CannotMatch(self.tokenizer, rows, prompt_length)]),
        )
        answers = self.tokenizer.batch_decode(output[:, prompt_length:], skip_special_tokens=True)
        return [
            Result(row.id, float(CHECKS[row.check](answer, row.gold)), answer=answer)
            for row, answer in zip(rows, answers, strict=True)
        ]

    @torch.no_grad()
    def likelihoods(self, rows: Sequence[Row]) -> list[Result]:
        """Mean negative log-likelihood per token of each reference; the end-of-turn token is not counted."""
        examples = [encode_example(self.tokenizer, row.prompt, row.answer) for row in rows]
        batch = collate(examples, with_end=False)
        logits = self.model.lm_head(answer_states(self.model, batch, self.device)).float()
        labels = batch.labels.to(self.device)
        losses = functional.cross_entropy(
            logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="none"
        )
        counts = (labels != IGNORED).sum(dim=1)
        nlls = (losses.view_as(labels).sum(dim=1) / counts).tolist()
        return [Result(row.id, math.exp(-nll), nll=nll) for row, nll in zip(rows, nlls, strict=True)]
