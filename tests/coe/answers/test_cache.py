"""What the cache answers from: ages, tokens, categories with a threshold, and answers that were cut short."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from compositions import with_runtime, write_config

from coe.answers.cache import AnswerCache
from coe.answers.question import Question
from coe.config.schema import AnswerCacheConfig
from coe.errors import DeadlineError
from coe.experts import ServedExpert
from coe.preparation import PreparedPrompt
from coe.runtime import Runtime
from coe.types import (
    Decision,
    Delta,
    Finished,
    FinishReason,
    GenerateEvent,
    GenerateRequest,
    Message,
    Sampling,
    Switch,
    SwitchKind,
    Tier,
    Usage,
)

SETTINGS = AnswerCacheConfig(enabled=True, ttl_s=100.0, semantic={"math": 0.9})
PART = (np.ones(4, np.float32) / 2).tobytes()
DECISION = Decision("a", "math", 0.9, "category", "hello", vectors=(PART, PART, PART))
REQUEST = GenerateRequest("1", (Message("user", "hello"),), sampling=Sampling(temperature=0.0, max_tokens=4))
SWITCH = Switch(SwitchKind.DEVICE_HIT, 0, 0.0, 0.0, 0.0)
END = Finished(FinishReason.STOP, Usage(2, 1), SWITCH)


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture(scope="module")
def expert(tmp_path_factory: pytest.TempPathFactory, llama_folder: Path) -> ServedExpert:
    async def work(runtime: Runtime) -> ServedExpert:
        return runtime.experts.served["a"]

    return with_runtime(write_config(tmp_path_factory.mktemp("one"), {"a": llama_folder}), work)


def asked(cache: AnswerCache, expert: ServedExpert, text: str = "hello", category: str = "math") -> Question:
    decision = replace(DECISION, category=category)
    found = cache.question(replace(REQUEST, messages=(Message("user", text),)), decision, expert)
    assert found is not None
    return found


def keep(cache: AnswerCache, question: Question, expert: ServedExpert, *, error: bool = False, taken: int = 9) -> None:
    """Have an answer of two events go by, of which `taken` are taken."""

    async def events() -> AsyncGenerator[GenerateEvent, None]:
        yield Delta("hi", (3,))
        if error:
            raise DeadlineError("too late")
        yield END

    async def work() -> None:
        prompt = PreparedPrompt("1", expert, DECISION, Tier.DISK, (1, 2), Sampling(), 0.0, None)
        num = 0
        async with aclosing(cache.keeping(question, prompt, 1, events())) as passed:
            async for _ in passed:
                num += 1
                if num == taken:
                    break

    asyncio.run(work())


def test_an_answer_is_found_until_it_is_too_old_for_the_request_or_the_cache(expert: ServedExpert) -> None:
    clock = Clock()
    cache = AnswerCache(SETTINGS, {"a": "weights"}, clock)
    question = asked(cache, expert)
    keep(cache, question, expert)
    clock.now_s = 50.0
    found = cache.find(question, None)
    assert found is not None
    assert (found.cached.kind, found.cached.age_s) == ("exact", 50.0)
    assert cache.find(question, 51.0) is not None
    assert cache.find(question, 50.0) is None
    assert cache.find(question, 0.0) is None
    clock.now_s = 100.0
    assert cache.find(question, None) is None
    assert cache.status().num_expired == 1


def test_the_same_messages_under_a_template_that_says_the_date_are_another_prompt(expert: ServedExpert) -> None:
    cache = AnswerCache(SETTINGS, {"a": "weights"})
    question = asked(cache, expert)
    keep(cache, question, expert)
    found = cache.find(question, None)
    assert cache.confirmed(found, (1, 2)) is found
    assert cache.confirmed(found, (1, 3)) is None
    assert (cache.status().num_exact_hits, cache.status().num_misses) == (1, 1)


def test_an_expert_of_other_bytes_under_the_same_name_has_other_answers(expert: ServedExpert) -> None:
    one, other = AnswerCache(SETTINGS, {"a": "weights"}), AnswerCache(SETTINGS, {"a": "other weights"})
    assert asked(one, expert).key != asked(other, expert).key
    assert asked(one, expert).group != asked(other, expert).group


def test_an_answer_that_failed_or_that_nobody_took_to_its_end_is_not_kept(expert: ServedExpert) -> None:
    cache = AnswerCache(SETTINGS, {"a": "weights"})
    question = asked(cache, expert)
    with pytest.raises(DeadlineError):
        keep(cache, question, expert, error=True)
    for taken in (1, 2):
        keep(cache, question, expert, taken=taken)
    assert cache.status().num_answers == 0


def test_a_near_prompt_is_found_in_a_category_with_a_threshold_alone(expert: ServedExpert) -> None:
    cache = AnswerCache(SETTINGS, {"a": "weights"})
    for category in ("math", "law"):
        keep(cache, asked(cache, expert, f"hello {category}", category), expert)
    found = cache.find(asked(cache, expert, "hello there"), None)
    assert found is not None
    assert found.cached.kind == "semantic"
    assert cache.confirmed(found, (7, 8, 9)) is found
    assert cache.find(asked(cache, expert, "hello 3"), None) is None
    assert cache.find(asked(cache, expert, "hello there", "law"), None) is None


def test_without_exact_only_near_prompts_are_answered(expert: ServedExpert) -> None:
    cache = AnswerCache(replace(SETTINGS, exact=False), {"a": "weights"})
    question = asked(cache, expert)
    keep(cache, question, expert)
    assert cache.find(question, None) is None
    assert cache.find(asked(cache, expert, "hello there"), None) is not None


def test_a_cache_that_is_off_has_no_questions(expert: ServedExpert) -> None:
    cache = AnswerCache(AnswerCacheConfig(), {"a": "weights"})
    assert cache.question(REQUEST, DECISION, expert) is None


def test_clearing_forgets_everything(expert: ServedExpert) -> None:
    cache = AnswerCache(SETTINGS, {"a": "weights"})
    question = asked(cache, expert)
    keep(cache, question, expert)
    assert cache.clear() == 1
    assert cache.find(question, None) is None
    assert cache.status().used_bytes == 0
    cache.check_integrity()
