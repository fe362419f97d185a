"""Prompts → token ids: an expert's chat template and tokenizer, and its limits: context, vocabulary, end tokens.

A tokenizer is loaded once per folder. Called on the text worker, never on the event loop. transformers renders the
templates; the tokenizers library encodes, and its settings are never changed, so the engine thread may decode with the
same tokenizer meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from tokenizers import Tokenizer

from coe.errors import ContextLengthError, InvalidRequestError, SourceError
from coe.text.vocabulary import Vocabulary
from coe.types import Message

__all__ = ["ExpertText", "load_text"]


@dataclass(frozen=True, slots=True)
class ExpertText:
    """How one expert reads and writes text. `context` is in tokens; `eos_ids` are the tokens that end a generation."""

    expert: str
    tokenizer: Tokenizer
    vocabulary: Vocabulary
    context: int
    eos_ids: frozenset[int]
    _template: Any  # transformers' tokenizer, which renders chat templates
    _chat_template: str | None

    @property
    def template(self) -> str:
        """The text of the chat template in use (Jinja)."""
        return str(self._chat_template or self._template.chat_template)

    def encode_chat(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """Return the token ids of a conversation, up to where the assistant's turn begins.

        Raises InvalidRequestError for a conversation that the template refuses.
        """
        turns = [{"role": message.role, "content": message.content} for message in messages]
        try:
            rendered = self._template.apply_chat_template(
                turns, chat_template=self._chat_template, tokenize=False, add_generation_prompt=True
            )
        except Exception as error:  # templates may raise anything (jinja2.TemplateError, ValueError)
            raise InvalidRequestError(
                f"expert '{self.expert}' cannot format this conversation: {error}", param="messages"
            ) from error
        return self._encode(rendered, add_special_tokens=False)

    def encode_prompt(self, prompt: str) -> tuple[int, ...]:
        """Return the token ids of a plain text to continue; raises InvalidRequestError for an empty one."""
        return self._encode(prompt, add_special_tokens=True)

    def encode_continuation(self, text: str) -> tuple[int, ...]:
        """Return the token ids of a text that follows a prompt, encoded by itself, as an answer's tokens are.

        Raises InvalidRequestError for an empty text.
        """
        return self._encode(text, add_special_tokens=False)

    def check_bias(self, logit_bias: Mapping[int, float]) -> None:
        """Raise InvalidRequestError for a token that the expert does not have."""
        size = self.tokenizer.get_vocab_size(with_added_tokens=True)
        for token_id in logit_bias:
            if token_id >= size:
                raise InvalidRequestError(
                    f"logit_bias names token {token_id}, and expert '{self.expert}' has tokens 0 to {size - 1}",
                    param="logit_bias",
                )

    def room(self, num_prompt_tokens: int, max_tokens: int) -> int:
        """Return how many tokens may be generated, at most `max_tokens`.

        Raises ContextLengthError for a prompt that leaves no place for a token.
        """
        if num_prompt_tokens >= self.context:
            raise ContextLengthError(
                f"the prompt has {num_prompt_tokens} tokens and expert '{self.expert}' has {self.context} of context; "
                "shorten the prompt or choose an expert with a longer context",
                param="messages",
            )
        return min(max_tokens, self.context - num_prompt_tokens)

    def _encode(self, text: str, *, add_special_tokens: bool) -> tuple[int, ...]:
        clean = text.encode("utf-8", "replace").decode("utf-8")  # lone surrogates have no bytes
        ids = tuple(self.tokenizer.encode(clean, add_special_tokens=add_special_tokens).ids)
        if not ids:
            raise InvalidRequestError("the prompt is empty; write something to continue", param="prompt")
        return ids


def load_text(
    expert: str,
    folder: str,
    config: Mapping[str, Any],
    generation_config: Mapping[str, Any],
    chat_template: str | None = None,
) -> ExpertText:
    """Return how an expert reads and writes text, from its tokenizer's folder and its two configurations.

    `chat_template` replaces the template that is in the folder. Raises SourceError, in the name of `expert`, for a
    tokenizer that is missing, damaged or slow.
    """
    try:
        template = _load_tokenizer(folder)
    except _TokenizerError as error:
        raise SourceError(expert, str(error)) from error
    own_template = chat_template
    if own_template is None and template.chat_template is None:
        own_template = PLAIN_TEMPLATE
    return ExpertText(
        expert=expert,
        tokenizer=template.backend_tokenizer,
        vocabulary=Vocabulary(template.backend_tokenizer),
        context=int(config.get("max_position_embeddings") or config.get("n_positions") or template.model_max_length),
        eos_ids=_eos_ids(template, config, generation_config),
        _template=template,
        _chat_template=own_template,
    )


# for base models without a template: the turns one after another, as text to continue
PLAIN_TEMPLATE = "{% for message in messages %}{{ message['content'] }}\n{% endfor %}"


class _TokenizerError(Exception):
    """A folder's tokenizer cannot be used."""


@lru_cache(maxsize=64)  # adapters share their base's folder, and a tokenizer takes a third of a second
def _load_tokenizer(folder: str) -> Any:
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except Exception as error:  # damaged files raise anything (KeyError, bare Exception)
        raise _TokenizerError(f"{folder} has no usable tokenizer ({error}); add tokenizer.json") from error
    if not tokenizer.is_fast:
        raise _TokenizerError(f"{folder} has only a slow tokenizer; convert it to tokenizer.json")
    return tokenizer


def _eos_ids(tokenizer: Any, config: Mapping[str, Any], generation_config: Mapping[str, Any]) -> frozenset[int]:
    """Return every id that ends a generation: the generation config's, else the model config's, and the tokenizer's."""
    named = generation_config.get("eos_token_id", config.get("eos_token_id"))
    ids = set(named) if isinstance(named, list) else {named}
    return frozenset(int(token_id) for token_id in ids | {tokenizer.eos_token_id} if token_id is not None)
