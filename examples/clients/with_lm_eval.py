"""lm-eval: local-completions with its defaults (token ids, scored by echo), and local-chat-completions, on a tiny task.

Needs: lm_eval[api]>=0.4.9, transformers>=4.50, and the tokenizer of the expert that is asked, which local-completions
wants beside the server. Run: python with_lm_eval.py (COE_URL is the server, http://127.0.0.1:8000 by default;
COE_MODEL the expert, general by default; COE_TOKENIZER its folder or hub id). The task is written here, so that
nothing is fetched.
"""

# /// script
# requires-python = ">=3.11"
# dependencies = ["lm_eval[api]>=0.4.9", "transformers>=4.50"]
# ///

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

URL = os.environ.get("COE_URL", "http://127.0.0.1:8000")
MODEL = os.environ.get("COE_MODEL", "general")
CACHE = Path(os.environ.get("COE_CACHE", "~/.cache/coe")).expanduser()
TOKENIZER = os.environ.get("COE_TOKENIZER", str(CACHE / "demo" / "SmolLM2-135M-Instruct"))
ROWS = (
    ("France", "Paris", "Rome"),
    ("Italy", "Rome", "Madrid"),
    ("Spain", "Madrid", "Berlin"),
    ("Germany", "Berlin", "Paris"),
)
DATA = """dataset_path: json
dataset_kwargs: {{data_files: {{test: "{rows}"}}}}
test_split: test
"""
ASKS = """doc_to_text: "What is the capital of {{country}}? The capital of {{country}} is"
"""
CHOICES = """task: capitals_choice
output_type: multiple_choice
doc_to_choice: "{{[right, wrong]}}"
doc_to_target: 0
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
"""
# a perplexity: a document is one request, whole
ROLLING = """task: capitals_rolling
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "The capital of {{country}} is {{right}}."
metric_list: [{metric: word_perplexity}]
"""
TEXTS = """task: capitals_text
output_type: generate_until
doc_to_target: "{{right}}"
generation_kwargs: {until: ["\\n", "."], max_gen_toks: 16}
filter_list:
  - {name: word, filter: [{function: regex, regex_pattern: "(Paris|Rome|Madrid|Berlin)"}, {function: take_first}]}
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        rows = folder / "capitals.jsonl"
        rows.write_text(
            "".join(json.dumps(dict(zip(("country", "right", "wrong"), row, strict=True))) + "\n" for row in ROWS)
        )
        for task in (CHOICES, ROLLING, TEXTS):
            name = task.partition("\n")[0].removeprefix("task: ")
            asks = "" if task is ROLLING else ASKS
            (folder / f"{name}.yaml").write_text(task + DATA.format(rows=rows) + asks)
        completions = f"model={MODEL},base_url={URL}/v1/completions,tokenizer={TOKENIZER}"
        chat = f"model={MODEL},base_url={URL}/v1/chat/completions"
        every = "capitals_choice,capitals_rolling,capitals_text"
        alone = scores(folder, "local-completions", completions, every)
        together = scores(folder, "local-completions", completions, every, "--batch_size", "4")
        assert alone == together, (alone, together)
        print("local-completions:", alone, "and the same in batches of 4")
        talked = scores(folder, "local-chat-completions", chat, "capitals_text", "--apply_chat_template")
        print("local-chat-completions:", talked)


def scores(folder: Path, model: str, settings: str, tasks: str, *more: str) -> dict[str, float]:
    """Run lm_eval's own command and return each task's scores."""
    out = folder / "out"
    command = [sys.executable, "-m", "lm_eval", "--model", model, "--model_args", settings, "--tasks", tasks]
    offline = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "hub")}
    done = subprocess.run(
        [*command, "--include_path", str(folder), "--output_path", str(out), *more],
        env={**offline, "OPENAI_API_KEY": os.environ.get("COE_API_KEY") or "none"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"lm_eval ended with {done.returncode}:\n{done.stderr[-3000:]}")
    newest = max(out.rglob("results_*.json"), key=lambda path: path.stat().st_mtime)
    results: dict[str, dict[str, Any]] = json.loads(newest.read_text())["results"]
    return {
        f"{task} {name.partition(',')[0]}": round(value, 4)
        for task, found in results.items()
        for name, value in found.items()
        if isinstance(value, float) and "stderr" not in name
    }


if __name__ == "__main__":
    main()
