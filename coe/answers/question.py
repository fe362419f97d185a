"""What makes two requests the same: digests of all that a greedy answer depends on, and of who asks.

Owns which requests have one: those that are answered greedily, of a length that is soon hashed. Two requests are the
same for one owner, one expert's bytes, template and defaults, the same messages, sampling and grammar. Knows nothing
about vectors and what is kept.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import NamedTuple

from coe.text.tool_turns import num_chars
from coe.types import Decision, GenerateRequest, Message, Sampling

__all__ = ["Question", "question_of", "tokens_digest"]

MAX_CHARS = 200_000  # a longer prompt is not hashed on the event loop
MAX_BYTES = 224  # of a prompt that is compared by its vector: the encoder reads such a one whole
ROUTED = ("category", "cost")  # the classifier was sure of the category
PERSON = b"coe answers"


class Question(NamedTuple):
    """`key` names everything that the answer depends on, `group` everything but the prompt's text.

    `group` is None where only the same prompt has the same answer; else `text` is the prompt, `vectors` are those of
    it, and `category` is what the router took it for.
    """

    key: bytes
    group: bytes | None = None
    category: str = ""
    text: str = ""
    vectors: tuple[bytes, ...] = ()


def question_of(
    request: GenerateRequest, decision: Decision, turns: tuple[Message, ...], sampling: Sampling, identity: str
) -> Question | None:
    """Return what a request asks; None where its answer is drawn by chance, or it wants no cache.

    `turns` and `sampling` are the request's as the expert, which `identity` stands for, gets them; a plain text to
    continue is one turn without a role.
    """
    if sampling.temperature != 0 or not request.is_kept or num_chars(turns, request.tools) > MAX_CHARS:
        return None
    asked = [request.owner, identity, asdict(sampling), request.num_choices, request.scores_prompt]
    told = [dict(request.template_variables), asdict(request.prompt_form), *map(asdict, request.tools)]
    choice = [asdict(request.tool_choice), request.allows_parallel_calls]
    form = None if request.grammar is None else asdict(request.grammar)
    facts = json.dumps([asked, told, choice, form], sort_keys=True, default=str).encode()
    key = _digest(facts, _texts(turns))
    has_own_answer = request.scores_prompt or request.tools or request.grammar is not None  # data of this very prompt
    if not _is_single(turns) or has_own_answer or decision.why not in ROUTED or not decision.vectors:
        return Question(key)
    *system, user = turns
    if len(user.content.encode("utf-8", "replace")) > MAX_BYTES or (system and "\n" in user.content.strip()):
        return Question(key)
    assert decision.category is not None
    group = _digest(facts, _texts(system), decision.category)
    return Question(key, group, decision.category, user.content, decision.vectors)


def tokens_digest(token_ids: tuple[int, ...]) -> bytes:
    """Return a digest of a prompt's tokens: a template may say the date, so equal messages may be other tokens."""
    return hashlib.blake2b(repr(token_ids).encode(), digest_size=16).digest()


def _is_single(turns: tuple[Message, ...]) -> bool:
    """Return whether there is one user turn, under system turns or none.

    Under a system turn the encoder's last vector is of the user turn alone, if that is one paragraph.
    """
    return bool(turns) and turns[-1].role == "user" and all(turn.role == "system" for turn in turns[:-1])


def _texts(turns: Iterable[Message]) -> str:
    """Return roles, contents, thoughts, calls and results; the lengths in it keep them apart."""
    return "".join(f"{turn.role} {len(turn.content)} {turn.content}{_beside(turn)}" for turn in turns)


def _beside(turn: Message) -> str:
    """Return what a turn has beside its content, "" for nothing."""
    beside = asdict(replace(turn, role="", content=""))
    return json.dumps(beside, sort_keys=True) if any(beside.values()) else ""


def _digest(facts: bytes, *texts: str) -> bytes:
    digest = hashlib.blake2b(b"%d " % len(facts) + facts, digest_size=32, person=PERSON)
    for text in texts:
        written = text.encode("utf-8", "surrogatepass")
        digest.update(b"%d " % len(written) + written)
    return digest.digest()
