"""`coe router score` end to end, with tiny random models made on the spot."""

from __future__ import annotations

import csv
import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from compositions import ask, with_runtime, write_config
from transformers import AutoModelForCausalLM, AutoTokenizer

from coe.cli import main
from coe.runtime import Runtime
from router.mapping_study.score_table import costs_of, read_scores

# a shell starts what runs behind `&` with SIGINT ignored, tests included: a command started by them would inherit it
INTERRUPTIBLE = [
    sys.executable,
    "-c",
    "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from coe.cli import main; sys.exit(main(sys.argv[1:]))",
    *("router", "score"),
]
ROOT = Path(__file__).parents[3]
CHOICES = ["Paris", "London is a city", "a small house by the sea"]
QUESTION = "What is the capital of France?"


class Done(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def coe(capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """The command line, in this process."""

    def run(*words: object) -> Done:
        capsys.readouterr()
        code = main([str(word) for word in words])
        return Done(code, *capsys.readouterr())

    return run


def written(folder: Path, rows: list[dict[str, Any]]) -> Path:
    file = folder / "labelled.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def said(config: Path, expert: str, prompt: str, num_tokens: int) -> str:
    """What an expert says to a prompt."""

    async def work(runtime: Runtime) -> str:
        tokens = await ask(runtime, expert, prompt, num_tokens)
        return str(runtime.experts.served[expert].text.tokenizer.decode(tokens))

    return with_runtime(config, work)


def transformers_totals(folder: Path, prompt: str, choices: list[str]) -> list[float]:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    turns = [{"role": "user", "content": prompt}]
    text = tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
    prompt_ids, totals = tokenizer.encode(text, add_special_tokens=False), []
    for choice in choices:
        ids = tokenizer.encode(choice, add_special_tokens=False)
        with torch.inference_mode():
            logprobs = torch.log_softmax(model(torch.tensor([prompt_ids + ids])).logits[0], dim=-1)
        rows = logprobs[len(prompt_ids) - 1 : -1]
        totals.append(float(rows.gather(1, torch.tensor(ids)[:, None]).sum()))
    return totals


@pytest.fixture
def config(tmp_path: Path, llama_folder: Path, other_llama_folder: Path) -> Path:
    return write_config(tmp_path, {"general": llama_folder, "other": other_llama_folder})


def test_scores_are_what_experts_say_and_find_likely_and_the_mapping_reads_them(
    coe: Callable[..., Done], tmp_path: Path, config: Path, llama_folder: Path, other_llama_folder: Path
) -> None:
    """Every check; one expert's own words are the reference, so it alone can be right."""
    own_words = said(config, "other", "Say something.", 12)
    first = own_words.split()[0].strip(".,") if own_words.split() else ""
    rows = [
        {"id": "exact", "prompt": "Say something.", "category": "talk", "check": "exact", "answer": own_words},
        {"id": "wrong", "prompt": "Say something.", "category": "talk", "check": "exact", "answer": "\u00e9" * 30},
        {"id": "sql", "prompt": "Say something.", "category": "talk", "check": "sql_normalised", "answer": own_words},
        {"id": "choice", "prompt": QUESTION, "category": "facts", "choices": CHOICES, "answer": 0},
        {"id": "loss", "prompt": QUESTION, "category": "facts", "check": "loss", "answer": "Paris, of course"},
        {"id": "number", "prompt": QUESTION, "category": "facts", "check": "last_number", "answer": 7},
        {"id": "word", "prompt": QUESTION, "category": "facts", "check": "first_word", "answer": first or "x"},
    ]
    rows[0]["max_tokens"] = rows[2]["max_tokens"] = 12
    out = tmp_path / "scores.jsonl"
    done = coe("router", "score", written(tmp_path, rows), "-c", config, "--out", out)
    assert done.code == 0, done.err
    table = read_scores(out)
    assert table.experts == ("general", "other")
    assert table.categories == tuple(row["category"] for row in rows)
    values = {row["id"]: dict(zip(table.experts, table.values[at], strict=True)) for at, row in enumerate(rows)}
    assert values["exact"] == {"general": 0.0, "other": 1.0}
    assert values["sql"]["other"] == 1.0
    assert values["wrong"] == {"general": 0.0, "other": 0.0}
    for expert, folder in (("general", llama_folder), ("other", other_llama_folder)):
        totals = transformers_totals(folder, QUESTION, CHOICES)
        assert values["choice"][expert] == float(totals.index(max(totals)) == 0)
        reference = "Paris, of course"
        num_tokens = len(AutoTokenizer.from_pretrained(folder).encode(reference, add_special_tokens=False))
        mean = transformers_totals(folder, QUESTION, [reference])[0] / num_tokens
        assert values["loss"][expert] == pytest.approx(torch.tensor(mean).exp().item(), rel=1e-3)
    summary = json.loads(done.out.splitlines()[-1])
    assert (summary["num_rows"], summary["num_bad_rows"]) == (7, 0)
    assert summary["mean_scores"]["other"] == pytest.approx(table.values[:, 1].mean())
    assert "score general: 100%" in done.err
    mapped = coe("router", "map", out, "--costs", tmp_path / "scores.costs.json")
    assert mapped.code == 0, mapped.err
    assert "talk" in mapped.out
    (size,) = {cost.total_b for cost in costs_of(table.experts, tmp_path / "scores.costs.json").values()}
    assert size == pytest.approx(
        sum(p.numel() for p in AutoModelForCausalLM.from_pretrained(llama_folder).parameters()) / 1e9
    )


def test_an_answer_that_cannot_pass_ends_early_and_one_that_might_does_not(
    coe: Callable[..., Done], tmp_path: Path, config: Path
) -> None:
    rows = [
        {"prompt": QUESTION, "category": "a", "check": "exact", "answer": "\u00e9" * 60, "id": "no"},
        {"prompt": QUESTION, "category": "a", "check": "last_number", "answer": 1, "id": "maybe", "max_tokens": 40},
    ]
    done = coe(
        "router", "score", written(tmp_path, rows), "-c", config, "--out", tmp_path / "s.jsonl", "--experts", "other"
    )
    assert done.code == 0, done.err
    results = [json.loads(line) for line in (tmp_path / "s.results.jsonl").read_text().splitlines()]
    answers = {result["id"]: result["answer"] for result in results}
    assert answers["maybe"].startswith(answers["no"])
    assert len(answers["no"]) < len(answers["maybe"]) / 2


def test_a_second_run_asks_only_what_is_new(coe: Callable[..., Done], tmp_path: Path, config: Path) -> None:
    rows = [{"prompt": f"{at} + 1?", "category": "a", "check": "last_number", "answer": at + 1} for at in range(4)]
    for row in rows:
        row["max_tokens"] = 4
    command = ("-c", config, "--out", tmp_path / "scores.jsonl", "--results", tmp_path / "kept.jsonl")
    assert coe("router", "score", written(tmp_path, rows[:3]), *command, "--experts", "other").code == 0
    kept = (tmp_path / "kept.jsonl").read_text()
    assert len(kept.splitlines()) == 3
    assert coe("router", "score", written(tmp_path, rows[:3]), *command, "--experts", "other").code == 0
    assert (tmp_path / "kept.jsonl").read_text() == kept
    rows[0]["category"] = "b"  # not part of the question
    assert coe("router", "score", written(tmp_path, rows), *command).code == 0
    grown = (tmp_path / "kept.jsonl").read_text()
    assert grown.startswith(kept)
    assert len(grown.splitlines()) == 8
    assert coe("router", "score", written(tmp_path, rows), *command, "--max-tokens", 2).code == 0
    assert (tmp_path / "kept.jsonl").read_text() == grown  # a row's own limit goes first


def test_ctrl_c_keeps_what_is_done_and_the_same_command_goes_on(
    coe: Callable[..., Done], tmp_path: Path, config: Path
) -> None:
    rows = [{"prompt": f"{at}?", "category": "a", "check": "last_number", "answer": 1} for at in range(400)]
    out, kept = tmp_path / "scores.jsonl", tmp_path / "kept.jsonl"
    options = ["-c", config, "--out", out, "--results", kept, "--experts", "other", "--max-tokens", 200]
    command = [str(word) for word in (*INTERRUPTIBLE, written(tmp_path, rows), *options)]
    running = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    assert running.stderr is not None
    shown = b""
    while not re.search(rb"score other: .* [1-9]\d*/400", shown):
        piece = running.stderr.read1()  # type: ignore[attr-defined]
        assert piece, shown.decode()
        shown += piece
    running.send_signal(signal.SIGINT)
    errors = running.communicate()[1].decode()
    assert running.returncode == 130, errors
    assert "the same command goes on" in errors
    assert "Traceback" not in errors
    assert not out.exists()
    before = kept.read_text()
    assert 1 <= before.count("\n") < 400
    labelled = written(tmp_path, rows[: before.count("\n")])
    rest = coe("router", "score", labelled, *options)
    assert rest.code == 0, rest.err
    assert kept.read_text().startswith(before)
    assert len(read_scores(out).prompts) == before.count("\n")


def test_rows_of_a_table_are_scored_like_those_of_jsonl(coe: Callable[..., Done], tmp_path: Path, config: Path) -> None:
    """The second run asks nothing anew: its questions are the first one's."""
    rows = [
        {"prompt": "1, 2?", "category": "a", "check": "last_number", "answer": 1, "max_tokens": 2},
        {"prompt": QUESTION, "category": "facts", "check": "choice", "choices": CHOICES, "answer": CHOICES[1]},
    ]
    table = tmp_path / "labelled.csv"
    with table.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, ["prompt", "category", "check", "answer", "max_tokens", "choices"])
        writer.writeheader()
        writer.writerows({**row, "choices": json.dumps(row["choices"]) if "choices" in row else ""} for row in rows)
    out, kept = tmp_path / "scores.jsonl", tmp_path / "results.jsonl"
    options = ("-c", config, "--out", out, "--results", kept, "--experts", "general")
    assert coe("router", "score", written(tmp_path, rows), *options).code == 0
    table_of_jsonl, results = read_scores(out), kept.read_text()
    done = coe("router", "score", table, *options)
    assert done.code == 0, done.err
    assert read_scores(out).prompts == table_of_jsonl.prompts
    assert (read_scores(out).values == table_of_jsonl.values).all()
    assert kept.read_text() == results


def test_a_row_too_long_for_an_expert_is_a_hole_that_is_named(
    coe: Callable[..., Done], tmp_path: Path, config: Path
) -> None:
    rows = [
        {"id": "long", "prompt": "word " * 700, "category": "a", "check": "last_number", "answer": 1},
        {"id": "short", "prompt": "1?", "category": "a", "check": "last_number", "answer": 1, "max_tokens": 2},
    ]
    out = tmp_path / "scores.jsonl"
    done = coe("router", "score", written(tmp_path, rows), "-c", config, "--out", out, "--experts", "general")
    assert done.code == 0, done.err
    assert "1 rows have no score, the first is long" in done.out
    assert [json.loads(line)["scores"]["general"] is None for line in out.read_text().splitlines()] == [True, False]


def test_bad_input_is_refused_by_name_with_2(
    coe: Callable[..., Done], tmp_path: Path, config: Path, llama_folder: Path
) -> None:
    good = {"prompt": "1?", "category": "a", "check": "last_number", "answer": 1, "max_tokens": 2}
    bad = {**good, "check": "vibes"}
    out = ("--out", tmp_path / "scores.jsonl")
    unknown = coe("router", "score", written(tmp_path, [good]), "-c", config, *out, "--experts", "othr")
    assert (unknown.code, "did you mean 'other'?" in unknown.err) == (2, True)
    none = coe("router", "score", written(tmp_path, [bad]), "-c", config, *out)
    assert (none.code, "unknown check 'vibes'" in none.err) == (2, True)
    one = coe("router", "score", written(tmp_path, [good, bad]), "-c", config, *out, "--experts", "GENERAL")
    assert (one.code, "1 bad rows left out\n  1 x unknown check" in one.err) == (0, True)
    assert json.loads(one.out.splitlines()[-1])["num_bad_rows"] == 1
    broken = write_config(tmp_path, {"general": llama_folder, "broken": tmp_path})
    gone = coe("router", "score", written(tmp_path, [good]), "-c", broken, *out)
    assert gone.code == 2
    assert "'broken'" in gone.err
    for done in (unknown, none, gone):
        assert "Traceback" not in done.err
