"""The shipped router, with its real encoder: plain prompts go where a person would send them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from router_fakes import ask

from coe.types import Message, RouteQuery
from router import Router

EXPERTS = (
    *("math", "sql", "tools", "reasoning", "intent", "code", "medicine", "finance", "law", "cyber"),
    *("creative_writing", "summarization", "translation"),
)
NAMES = {name: name for name in (*EXPERTS, "general")}
TRIAL = "The trial enrolled 412 adults with type 2 diabetes at 31 centres and followed them for 52 weeks. "
TRIAL += "Participants were randomised to receive weekly semaglutide or placebo in addition to metformin. "
TRIAL += "Mean HbA1c fell by 1.4 points. "
DATA = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture(scope="module")
def router() -> Router:
    return Router.load(mapping={name: name for name in EXPERTS}, general="general", names=NAMES)


@pytest.mark.parametrize(
    ("prompt", "expert"),
    [
        ("Natalia sold 48 clips in April and half as many in May. How many altogether?", "math"),
        ("Write a SQL query for the geography database: what is the longest river in texas", "sql"),
        ("Intent of this request: move 100 dollars from savings to checking", "intent"),
        ("Intent of this request: what is my account balance", "intent"),
        ("what is 2+2", "math"),
        ("book a table for four tonight", "tools"),
        ("Write a Python function that reverses a linked list.", "code"),
        ("What are the symptoms of appendicitis?", "medicine"),
        ("What is the capital of France?", "general"),
        ("hi there", "general"),
        ("Thanks, that was nice of you!", "general"),
        ("Who painted the Mona Lisa?", "general"),
    ],
)
def test_a_plain_prompt_goes_where_a_person_would_send_it(router: Router, prompt: str, expert: str) -> None:
    assert router.route([ask(prompt)])[0].expert == expert


@pytest.mark.parametrize(
    ("prompt", "expert"),
    [
        ("صداع شديد ماذا أفعل؟", "medicine"),
        ("Напиши стихотворение о первом снеге", "creative_writing"),
        ("Viết kịch bản phim ngắn về hai anh em lạc nhau ở bến xe", "creative_writing"),
        ("Ich habe seit drei Tagen Fieber und Husten, soll ich zum Arzt?", "medicine"),
        ("確定申告で医療費控除を受けるにはどうすればいいですか", "finance"),
        ("¿Puede mi casero subirme el alquiler a mitad de contrato?", "law"),
        ("次の文を英語に訳してください:昨日は雨が降っていました。", "translation"),
        (f"{TRIAL * 2}\n\nTL;DR please", "summarization"),
        ("regex for a phone number", "code"),
        ("Excel formula to sum column B where column A is March", "code"),
        ("is this parcel SMS a scam? 'Your package is held, pay 1.99 at post-fee.example'", "general"),
        ("Which planet has the most moons?\nA) Mars\nB) Saturn\nC) Venus\nD) Earth", "general"),
        ("How do I apply least privilege to a service account in AWS IAM?", "cyber"),
        ("<task>why is the sky blue?</task>\n<environment_details>\nsrc/app.ts\n</environment_details>", "general"),
        ('{"query": "What is the capital of France?"}', "general"),
    ],
)
def test_the_task_wins_over_subject_language_and_wrapper(router: Router, prompt: str, expert: str) -> None:
    assert router.route([ask(prompt)])[0].expert == expert


@pytest.mark.parametrize(
    ("system", "prompt", "expert"),
    [
        ("You are SQLBot. Schema: customers(id, name), orders(id, customer_id, total).", "top 5 spenders", "sql"),
        ("Translate everything the user writes into German.", "Where is the train station?", "translation"),
        ("You are a helpful assistant.", "why is the sky blue?", "general"),
    ],
)
def test_a_system_turn_decides_where_it_says_what_to_do(router: Router, system: str, prompt: str, expert: str) -> None:
    turns = (Message("system", system), Message("user", prompt))
    assert router.route([RouteQuery(turns, only_explains=True)])[0].expert == expert


@pytest.mark.parametrize(
    "text",
    ["x" * 100_000, "\x00\x01\x7f\ufffe" * 50, "lone \ud800 surrogate \udfff", "\u200b", "🙂" * 5000, "\udc80"],
    ids=["100k", "binary", "surrogates", "zero-width", "emoji", "one-surrogate"],
)
def test_junk_is_routed_like_anything_else_and_kept_as_it_is(router: Router, text: str) -> None:
    (decision,) = router.route([ask(text)])
    assert decision.text == text
    assert decision.expert in NAMES
    assert decision.why in ("category", "abstain")


@pytest.mark.skipif(not DATA.is_dir(), reason="needs the shared data folder")
def test_the_demos_own_prompts_reach_their_expert(router: Router) -> None:
    with gzip.open(DATA / "expert_tuning.jsonl.gz", "rt", encoding="utf-8") as stream:
        rows = [row for row in map(json.loads, stream) if row["split"] == "test"]
    for expert in ("math", "sql", "tools", "reasoning", "intent"):
        chosen = [ask(row["messages"][-2]["content"]) for row in rows if row["expert"] == expert][:40]
        hits = [decision.expert == expert for decision in router.route(chosen)]
        assert np.mean(hits) >= 0.8, expert  # math .83: stories about money read as finance
