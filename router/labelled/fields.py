"""The fields of a row: under which names a table has its prompts and its categories, and what the prompt is.

The one place that knows them: training, evaluation, mapping and scoring read alike. Options are part of the prompt,
because that is what an expert is asked. What is wrong with a row is said as `reason (detail)`, so that reasons can be
counted. Knows nothing about files.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from typing import Any

__all__ = ["CATEGORY_KEYS", "PROMPT_COLUMNS", "TEXT_KEYS", "category_in", "options_of", "prompt_in", "question_in"]

TEXT_KEYS = ("prompt", "messages", "question", "query", "text")
CATEGORY_KEYS = ("category", "label", "task", "subject")
OPTION_KEYS = ("options", "choices")
PROMPT_COLUMNS = (CATEGORY_KEYS, TEXT_KEYS)  # a table needs one of each


def quoted(keys: tuple[str, ...]) -> str:
    return f"{', '.join(map(repr, keys[:-1]))} or {keys[-1]!r}"


NO_TEXT = f"no text in {quoted(TEXT_KEYS)}"
NO_CATEGORY = f"no {quoted(CATEGORY_KEYS)}"


def prompt_in(row: Mapping[str, Any]) -> str:
    """Return the question with its options, each on a line of its own; raises ValueError without a text."""
    return "\n".join([question_in(row), *options_of(row)])


def question_in(row: Mapping[str, Any]) -> str:
    """Return the first text that the row has, of messages the last user turn; raises ValueError without one."""
    for key in TEXT_KEYS:
        found = last_user_turn(row.get(key)) if key == "messages" else row.get(key)
        if isinstance(found, str) and found.strip():
            return found
    raise ValueError(NO_TEXT)


def category_in(row: Mapping[str, Any]) -> str:
    """Return the first name of a category that the row has; raises ValueError without one."""
    others = []
    for key in CATEGORY_KEYS:
        value = row.get(key)
        if isinstance(value, str) and value.strip():
            return value.strip()
        if value not in (None, "") and not isinstance(value, str):
            others.append(f"{key} {value!r}")
    raise ValueError(f"the category is not a name ({others[0][:60]})" if others else NO_CATEGORY)


def options_of(row: Mapping[str, Any]) -> list[str]:
    """Return the answers to choose from: a list, a `{"text": [...]}`, or either as Python writes it; else a text."""
    options: Any = next((row[key] for key in OPTION_KEYS if row.get(key)), [])
    if isinstance(options, str):
        try:
            options = ast.literal_eval(options)  # LLMRouter's files
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            options = [options]
    if isinstance(options, dict):
        options = options.get("text", [])
    return [str(option) for option in options] if isinstance(options, (list, tuple)) else [str(options)]


def last_user_turn(messages: object) -> object:
    """Return the text of the last user turn, None without one; a table may hold the messages as JSON."""
    if isinstance(messages, str):
        try:
            messages = json.loads(messages)
        except (ValueError, RecursionError):
            return None
    if not isinstance(messages, list):
        return None
    turns = [turn.get("content") for turn in messages if isinstance(turn, dict) and turn.get("role") == "user"]
    return joined_text(turns[-1]) if turns else None


def joined_text(content: object) -> object:
    """Return the text of a turn whose content is a list of typed pieces, as OpenAI's API has it."""
    if not isinstance(content, list):
        return content
    texts = [piece.get("text") for piece in content if isinstance(piece, dict) and piece.get("type") == "text"]
    return "\n".join(text for text in texts if isinstance(text, str))
