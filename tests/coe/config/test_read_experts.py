"""`[experts]`: unique names, sources that can exist, bases, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from configurations import check_refused, read, refusal

from coe.types import Sampling

REFUSALS = [
    ("", "[experts]: there is no expert; write at least"),
    ("[experts]", "there is no expert"),
    ("experts = 1", "there is no expert"),
    ("experts.a = 5", "[experts.a] = 5: not a table"),
    ('experts.a = ""', '[experts.a] source = "": not a text'),
    ("[experts.a]\npin = true", "[experts.a] has no source; write source ="),
    (
        'experts.a = "./gone"',
        "gone does not exist; name a folder (relative to the configuration file) or a hub id",
    ),
    ('experts.a = "coe.toml"', "coe.toml is a file, not a folder"),
    ('experts.a = "${NO_SUCH_VARIABLE}/a"', "environment variable 'NO_SUCH_VARIABLE' is not set"),
    ('experts.a = {source = "a", revision = "x"}', '[experts.a] revision = "x": only a hub id has revisions'),
    ('experts.a = {source = "a", base = "a"}', "an expert cannot be its own base"),
    ('experts.general = "a"\nexperts.b = {source = "b", base = "genral"}', "did you mean 'general'?"),
    ('experts.a = {source = "a", base = "./gone"}', "gone does not exist"),
    ('experts.a = {source = "a", sauce = 1}', "unknown key 'sauce' in [experts.a]; did you mean 'source'?"),
    ('experts.a = {source = "a", chat_template = "x"}', "x does not exist; paths are relative"),
    ('experts.a = {source = "a", chat_template = "b"}', "b is not a file"),
    ('experts.a = {source = "a", tool_calls = "hermis"}', 'tool_calls = "hermis"'),
    ('experts.a = {source = "a", kind = "embeddings"}', "[experts.a] kind"),
    ('experts.a = {source = "a", kind = "embedding"}', "none of them answers prompts"),
    (
        'experts.general = "a"\nexperts.b = {source = "b", kind = "rerank", description = "x"}',
        '[experts.b] description: an expert of kind = "rerank" answers no prompts',
    ),
    (
        'experts.general = {source = "a", fallbacks = ["b"]}\nexperts.b = {source = "b", kind = "rerank"}',
        'fallbacks = "b": is an expert of kind = "rerank"',
    ),
    ('experts.a = {source = "a", keep_alive_s = -1}', "[experts.a] keep_alive_s = -1: out of range"),
    ('experts.a = {source = "a", generation = 3}', "[experts.a.generation] = 3: not a table"),
    (
        'experts.a = {source = "a", generation = {top_p = 0}}',
        "top_p = 0: out of range; write a number above 0",
    ),
    ('experts.a = {source = "a", generation = {temperatur = 1}}', "did you mean 'temperature'?"),
    ('experts.a = "a"\nexperts.A = "b"', "expert 'a' has this name too (case does not count)"),
    (
        'experts.general = "a"\nexperts.b = {source = "b", aliases = ["General"]}',
        "[experts.b] alias 'General': expert 'general' has",
    ),
    ('experts.a = {source = "a", aliases = ["A"]}', "this is the expert's own name; remove the alias"),
    ('experts.a = {source = "a", fallbacks = ["A"]}', '[experts.a] fallbacks = "A": names the expert itself'),
    (
        'experts.general = "a"\nexperts.b = {source = "b", fallbacks = ["genral"]}',
        "names no expert; did you mean 'general'?",
    ),
    (
        'experts.general = {source = "a", aliases = ["x"]}\nexperts.b = {source = "b", fallbacks = ["general", "X"]}',
        '[experts.b] fallbacks = "X": names the expert itself, or one twice',
    ),
    (
        'experts = {general = "a", c = "a", d = "a", b = {source = "b", fallbacks = ["general", "c", "d"]}}',
        '[experts.b] fallbacks = "d": a request is handed on at most 2 times',
    ),
    ('experts.coe = "a"', "'coe' means the whole composition"),
    ('experts."a b" = "a"', "letters, digits"),
]


@pytest.mark.parametrize(("text", "expected"), REFUSALS)
def test_bad_value_is_refused_by_name_once(folder: Path, text: str, expected: str) -> None:
    check_refused(folder, text, expected)


def test_every_key_arrives_in_its_type(folder: Path) -> None:
    general, math = read(
        folder,
        """
        [experts.general]
        source = "org/model"
        revision = "abc"
        [experts.math]
        source = "a"
        base = "GENERAL"
        aliases = "maths"
        fallbacks = "GENERAL"
        keep_alive_s = 5
        generation = {stop = "END", temperature = 0, top_k = 3}
        """,
    ).experts
    assert (general.source.folder, general.source.revision) == (None, "abc")
    assert math.base == general.source  # the other expert's source, with its revision
    assert (math.aliases, math.fallbacks, math.keep_alive_s) == (("maths",), ("general",), 5.0)
    assert math.generation == Sampling(stop=("END",), temperature=0.0, top_k=3)


def test_a_text_is_the_source(folder: Path) -> None:
    (expert,) = read(folder, 'experts.a = "./a"').experts
    assert expert.source.folder == folder / "a"
    assert expert.source.text == "./a"


def test_one_expert_may_have_several_problems(folder: Path) -> None:
    message = refusal(folder, '[experts.a]\nsource = "./gone"\nbase = "a"\naliases = ["A"]\npin = 1\n')
    assert "4 problems" in message
    assert all(each in message for each in ("./gone", "its own base", "own name", "pin = 1"))
