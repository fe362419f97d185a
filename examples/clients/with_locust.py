"""locust: twenty users for twenty seconds who chat, complete and embed; every answer is looked at.

Needs: locust>=2.30. Run: python with_locust.py (COE_URL is the server, http://127.0.0.1:8000 by default), or
locust -f with_locust.py --host http://127.0.0.1:8000 for its page.
"""

# /// script
# requires-python = ">=3.11"
# dependencies = ["locust>=2.30"]
# ///

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from typing import Any

from locust import HttpUser, between

URL = os.environ.get("COE_URL", "http://127.0.0.1:8000")
USERS, SECONDS = os.environ.get("COE_USERS", "20"), os.environ.get("COE_SECONDS", "20")
PROMPTS = (
    "What is the capital of France?",
    "Write a Python function that reverses a string.",
    "Intent of this request: wake me at seven tomorrow",
    "Is 17 larger than 4 plus 12?",
)


class Asker(HttpUser):
    """One who asks, reads, and asks again."""

    host = URL
    wait_time = between(0.5, 1.5)

    def on_start(self) -> None:
        self.client.headers["authorization"] = f"Bearer {os.environ.get('COE_API_KEY') or 'none'}"

    def chat(self) -> None:
        self._ask("/v1/chat/completions", {"messages": [self._turn()], "max_tokens": 8, "temperature": 0})

    def stream(self) -> None:
        body = {"model": "coe", "messages": [self._turn()], "max_tokens": 8, "temperature": 0, "stream": True}
        with self.client.post(
            "/v1/chat/completions", json=body, stream=True, name="streamed", catch_response=True
        ) as answer:
            lines = [line for line in answer.iter_lines() if line.startswith(b"data:")]
            if answer.status_code != 200 or not lines or lines[-1] != b"data: [DONE]":
                answer.failure(f"status {answer.status_code}, {len(lines)} chunks")

    def complete(self) -> None:
        self._ask("/v1/completions", {"model": "general", "prompt": ["One, two,", "A, B,"], "max_tokens": 4})

    def embed(self) -> None:
        self._ask("/v1/embeddings", {"input": [random.choice(PROMPTS)]})

    def _turn(self) -> dict[str, str]:
        return {"role": "user", "content": random.choice(PROMPTS)}

    def _ask(self, path: str, body: dict[str, Any]) -> None:
        with self.client.post(path, json={"model": "coe", **body}, catch_response=True) as answer:
            if answer.status_code != 200 or not (answer.json().get("choices") or answer.json().get("data")):
                answer.failure(f"status {answer.status_code}: {answer.text[:200]}")

    # how often each is done
    tasks = {chat: 4, stream: 4, complete: 1, embed: 1}  # noqa: RUF012 (locust's own way to say it)


def main() -> int:
    command = [sys.executable, "-m", "locust", "-f", __file__, "--headless", "--only-summary", "--json"]
    done = subprocess.run(
        [*command, "-u", USERS, "-r", USERS, "-t", f"{SECONDS}s"], stdout=subprocess.PIPE, text=True, check=False
    )
    for row in json.loads(done.stdout):
        mean_s = row["total_response_time"] / row["num_requests"] / 1000
        print(f"{row['name']}: {row['num_requests']} requests, {row['num_failures']} failed, {mean_s:.2f} s on average")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
