"""Rows as token ids under the base model's own chat template.

Owns where a prompt ends and an answer begins, for training and scoring alike, so that an expert is scored on exactly
the shape it was trained on. Knows nothing about weights or losses.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

IGNORED = -100


class Tokenizer(Protocol):
    """The part of a transformers tokenizer that is used here."""

    eos_token: str

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]: ...

    def apply_chat_template(
        self, conversation: list[dict[str, str]], *, tokenize: bool, add_generation_prompt: bool
    ) -> str: ...


@dataclass(frozen=True, slots=True)
class Example:
    """Token ids of one row; `answer_ids` holds no end-of-turn token."""

    prompt_ids: tuple[int, ...]
    answer_ids: tuple[int, ...]
    end_id: int

    @property
    def num_tokens(self) -> int:
        return len(self.prompt_ids) + len(self.answer_ids) + 1


class Batch(NamedTuple):
    """Rows of one step, right-padded, with the tokens that they all start with taken out.

    `labels` is IGNORED except where a token of an answer is predicted.
    """

    prefix_ids: Tensor  # (1, prefix)
    input_ids: Tensor  # (batch, length)
    attention_mask: Tensor  # (batch, prefix + length)
    labels: Tensor  # (batch, length)


def prompt_text(tokenizer: Tokenizer, prompt: str) -> str:
    """The chat template around one user turn, up to where the assistant starts to speak."""
    turn = [{"role": "user", "content": prompt}]
    return tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)


def encode_example(tokenizer: Tokenizer, prompt: str, answer: str) -> Example:
    """Prompt and answer are tokenised apart, as they are when the answer is generated."""
    (end_id,) = tokenizer.encode(tokenizer.eos_token, add_special_tokens=False)
    return Example(
        prompt_ids=tuple(tokenizer.encode(prompt_text(tokenizer, prompt), add_special_tokens=False)),
        answer_ids=tuple(tokenizer.encode(answer, add_special_tokens=False)),
        end_id=end_id,
    )


def shared_prefix(examples: Sequence[Example]) -> int:
    """How many leading prompt tokens are the same in all examples; 0 for a single one, which shares with nobody."""
    if len(examples) == 1:
        return 0
    # the last prompt token predicts the first one of the answer, so it stays
    columns = zip(*(example.prompt_ids[:-1] for example in examples), strict=False)
    return sum(1 for _ in takewhile(lambda column: len(set(column)) == 1, columns))


def collate(examples: Sequence[Example], *, with_end: bool) -> Batch:
    """Pads on the right; `with_end` makes the end-of-turn token part of what is predicted."""
    prefix = shared_prefix(examples)
    length = max(example.num_tokens for example in examples) - prefix
    input_ids = torch.full((len(examples), length), examples[0].end_id)
    attention_mask = torch.zeros((len(examples), prefix + length), dtype=torch.long)
    labels = torch.full((len(examples), length), IGNORED)
    for index, example in enumerate(examples):
        ids = torch.tensor([*example.prompt_ids[prefix:], *example.answer_ids, example.end_id])
        start, stop = len(example.prompt_ids) - prefix, len(ids) if with_end else len(ids) - 1
        input_ids[index, : len(ids)] = ids
        attention_mask[index, : prefix + len(ids)] = 1
        # position t predicts token t + 1
        labels[index, start - 1 : stop - 1] = ids[start:stop]
    return Batch(torch.tensor([examples[0].prompt_ids[:prefix]]), input_ids, attention_mask, labels)


def answer_states(model: Any, batch: Batch, device: torch.device) -> Tensor:
    """Last hidden states of the rows, (batch, length, hidden); the shared prefix runs once, gradients included."""
    cache = None
    if batch.prefix_ids.shape[1]:
        cache = model.model(input_ids=batch.prefix_ids.to(device), use_cache=True).past_key_values
        cache.batch_repeat_interleave(len(batch.input_ids))
    states: Tensor = model.model(
        input_ids=batch.input_ids.to(device),
        attention_mask=batch.attention_mask.to(device),
        past_key_values=cache,
        use_cache=cache is not None,
    ).last_hidden_state
    return states
