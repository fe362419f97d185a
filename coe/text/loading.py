"""An expert's tokenizer folder and configurations → how it reads and writes text.

A tokenizer is loaded once per folder. Owns what is read of the files: the template and whose it is, the context, the
end tokens, the rows of the embedding, and what people should know of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from tokenizers import Tokenizer

from coe.errors import SourceError
from coe.text.control_tokens import ControlTokens
from coe.text.length_bound import LengthBound
from coe.text.output.answer_form import AddedWord, answer_form_of
from coe.text.output.call_formats import CallFormatName
from coe.text.prompt_encoder import PromptEncoder
from coe.text.rendering import OverrunError, RefusedError, TooLongError, renderer
from coe.text.templates import MOST_CHARS, ExpertText
from coe.text.tool_probe import tool_form_of
from coe.text.tool_turns import PLAIN
from coe.text.vocabulary import Vocabulary

__all__ = ["TokenizerError", "load_text", "load_tokenizer"]

# for base models without a template: the turns one after another, as text to continue
PLAIN_TEMPLATE = "{% for message in messages %}{{ message['content'] }}\n{% endfor %}"
MAX_NAMED = 3


def load_text(
    expert: str,
    folder: str,
    config: Mapping[str, Any],
    generation_config: Mapping[str, Any],
    chat_template: str | None = None,
    base_folder: str | None = None,
    tool_calls: CallFormatName | None = None,
) -> ExpertText:
    """Return how an expert reads and writes text, from its tokenizer's folder and its two configurations.

    `chat_template` replaces the template that is in the folder; `base_folder` is an adapter's base, whose template
    counts where the folder has none; `tool_calls` is the form of its calls, None to find it in the template.

    Raises SourceError, in the name of `expert`, for a tokenizer that is missing,
    damaged or slow.
    """
    try:
        loaded = load_tokenizer(folder)
        template, template_notes = _template(loaded, chat_template, base_folder)
    except TokenizerError as error:
        raise SourceError(expert, str(error)) from error
    tokenizer: Tokenizer = loaded.backend_tokenizer
    context = int(config.get("max_position_embeddings") or config.get("n_positions") or loaded.model_max_length)
    num_rows = _num_rows(config, tokenizer)
    variables = {name: str(token) for name, token in loaded.special_tokens_map.items()}
    failing = _failing(template, tuple(variables.items()))
    tool_form = PLAIN if failing else tool_form_of(template, tuple(variables.items()))
    return ExpertText(
        expert=expert,
        tokenizer=tokenizer,
        vocabulary=Vocabulary(tokenizer),
        context=context,
        num_rows=num_rows,
        eos_ids=frozenset(each for each in _eos_ids(loaded, config, generation_config) if each < num_rows),
        bound=_bound(folder, context),
        template=template,
        tool_form=tool_form,
        answer_form=answer_form_of(
            template, _added_words(tokenizer, num_rows), knows_tools=tool_form.is_native, chosen=tool_calls
        ),
        notes=(*template_notes, *failing, *_beyond(tokenizer, num_rows)),
        _variables=variables,
        _control=ControlTokens(tokenizer, template),
        _encoder=PromptEncoder(expert, tokenizer, context, num_rows),
    )


class TokenizerError(Exception):
    """A folder's tokenizer cannot be used."""


class _Template(NamedTuple):
    text: str
    notes: tuple[str, ...] = ()


@lru_cache(maxsize=64)  # adapters share their base's folder, and a tokenizer takes a third of a second
def load_tokenizer(folder: str) -> Any:
    """Return transformers' fast tokenizer of a folder, which neither cuts nor pads; raises TokenizerError."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except Exception as error:  # damaged files raise anything (KeyError, bare Exception)
        raise TokenizerError(f"{folder} has no usable tokenizer ({error}); add tokenizer.json") from error
    if not tokenizer.is_fast:
        raise TokenizerError(f"{folder} has only a slow tokenizer; convert it to tokenizer.json")
    tokenizer.backend_tokenizer.no_truncation()  # tokenizer.json may ask for both, and transformers obeys neither
    tokenizer.backend_tokenizer.no_padding()
    return tokenizer


def _template(tokenizer: Any, chosen: str | None, base_folder: str | None) -> _Template:
    if chosen is not None:
        return _Template(chosen)
    if (own := _own_template(tokenizer)) is not None:
        return _Template(own)
    if base_folder is not None and (base := _own_template(load_tokenizer(base_folder))) is not None:
        return _Template(base, ("its tokenizer has no chat template; its base's is used",))
    note = "there is no chat template: turns are joined as plain text; give one with chat_template = ..."
    return _Template(PLAIN_TEMPLATE, (note,))


def _own_template(tokenizer: Any) -> str | None:
    """Return a tokenizer's template, of several the default one, with the one for tools where there are any.

    None without one. Hermes and Command R have one for each, and transformers chooses as is done here.
    """
    if tokenizer.chat_template is None:
        return None
    several = tokenizer.chat_template if isinstance(tokenizer.chat_template, dict) else {}
    default, for_tools = several.get("default"), several.get("tool_use")
    if isinstance(default, str) and isinstance(for_tools, str):
        return f"{{% if tools %}}{for_tools}{{% else %}}{default}{{% endif %}}"
    try:
        template = tokenizer.get_chat_template()
    except ValueError as error:  # several, of which none is the default
        raise TokenizerError(f"{error}; name one with chat_template = ...") from error
    if not isinstance(template, str):
        raise TokenizerError(f"its chat template is {type(template).__name__} and not text; mend tokenizer_config.json")
    return template


@lru_cache(maxsize=64)  # adapters share their base's tokenizer, and this looks at its whole vocabulary
def _bound(folder: str, context: int) -> LengthBound:
    return LengthBound.of(load_tokenizer(folder).backend_tokenizer, context)


@lru_cache(maxsize=64)  # adapters share their base's template
def _failing(template: str, variables: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    """Return a note if the template fails on one user turn. The trial also starts what renders it."""
    turn = {"role": "user", "content": "Hello"}
    try:
        renderer().render(template, [turn], dict(variables), max_chars=MOST_CHARS, is_quick=True)
    except (RefusedError, TooLongError, OverrunError) as error:
        return (f"its chat template fails on a single user turn: {error}",)
    return ()


def _added_words(tokenizer: Tokenizer, num_rows: int) -> list[AddedWord]:
    """Return the added tokens that the model has weights for."""
    added = tokenizer.get_added_tokens_decoder().items()
    return [AddedWord(token_id, token.content, token.special) for token_id, token in added if token_id < num_rows]


def _num_rows(config: Mapping[str, Any], tokenizer: Tokenizer) -> int:
    """Return the rows of the embedding; an import has checked that the weights are as many."""
    nested = config.get("text_config")
    rows = config.get("vocab_size") or (nested.get("vocab_size") if isinstance(nested, Mapping) else None)
    return int(rows or tokenizer.get_vocab_size(with_added_tokens=True))


def _beyond(tokenizer: Tokenizer, num_rows: int) -> Iterator[str]:
    """Yield a note if there are tokens that the model has no weights for."""
    added = tokenizer.get_added_tokens_decoder()
    if max(tokenizer.get_vocab_size(with_added_tokens=True) - 1, *added) < num_rows:
        return
    beyond = sorted((at, token) for token, at in tokenizer.get_vocab(with_added_tokens=True).items() if at >= num_rows)
    if beyond:
        named = ", ".join(f"{at} ({token!r})" for at, token in beyond[:MAX_NAMED])
        yield (
            f"its tokenizer has tokens that its {num_rows} rows of embedding do not: {named}"
            f"{', …' if len(beyond) > MAX_NAMED else ''}; prompts with them are refused"
        )


def _eos_ids(tokenizer: Any, config: Mapping[str, Any], generation_config: Mapping[str, Any]) -> frozenset[int]:
    """Return every id that ends a generation: the generation config's, else the model config's, and the tokenizer's."""
    named = generation_config.get("eos_token_id", config.get("eos_token_id"))
    ids = set(named) if isinstance(named, list) else {named}
    return frozenset(int(token_id) for token_id in ids | {tokenizer.eos_token_id} if token_id is not None)
