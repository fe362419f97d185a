"""Open WebUI in front of coe: it is started here, without a login, and asked as its page asks.

Needs: open-webui>=0.6. Run: python with_open_webui.py, or with --stay to use its page (COE_URL is the server,
http://127.0.0.1:8000 by default; COE_WEBUI_PORT is the page's port, 18401 by default).
"""

# /// script
# requires-python = ">=3.11"
# dependencies = ["open-webui>=0.6", "httpx>=0.27"]
# ///

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx

URL = os.environ.get("COE_URL", "http://127.0.0.1:8000")
PORT = int(os.environ.get("COE_WEBUI_PORT", "18401"))
PROMPT = "What is the capital of France?"
STARTS_WITHIN_S = 300


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        settings = {
            "OPENAI_API_BASE_URLS": f"{URL}/v1",
            "OPENAI_API_KEYS": os.environ.get("COE_API_KEY") or "none",
            "ENABLE_OLLAMA_API": "false",
            "WEBUI_AUTH": "false",  # for a server of this machine's own people
            "DATA_DIR": folder,
            "WEBUI_SECRET_KEY": "of this run",
            # titles, tags and follow-ups would ask the composition once more for each answer
            "ENABLE_TITLE_GENERATION": "false",
            "ENABLE_TAGS_GENERATION": "false",
            "ENABLE_FOLLOW_UP_GENERATION": "false",
            # nothing is fetched from a hub
            "OFFLINE_MODE": "true",
            "HF_HUB_OFFLINE": "1",
            "RAG_EMBEDDING_ENGINE": "openai",
            "BYPASS_EMBEDDING_AND_RETRIEVAL": "true",
        }
        command = [
            str(Path(sys.executable).with_name("open-webui")),
            "serve",
            "--host",
            "127.0.0.1",
            "--port",
            str(PORT),
        ]
        with (Path(folder) / "log").open("w") as log:
            page = subprocess.Popen(command, env={**os.environ, **settings}, cwd=folder, stdout=log, stderr=log)
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{PORT}", timeout=300) as client:
                wait_until_it_lives(client, page, Path(folder) / "log")
                ask(client)
            if "--stay" in sys.argv:
                print(f"the page is at http://127.0.0.1:{PORT}; Ctrl-C ends")
                page.wait()
        finally:
            page.terminate()
            page.wait()


def wait_until_it_lives(client: httpx.Client, page: subprocess.Popen[bytes], log: Path) -> None:
    ends_s = time.monotonic() + STARTS_WITHIN_S
    while time.monotonic() < ends_s and page.poll() is None:
        try:
            client.get("/health").raise_for_status()
        except httpx.HTTPError:
            time.sleep(1)
        else:
            return
    raise SystemExit(f"the page did not start:\n{log.read_text()[-2000:]}")


def ask(client: httpx.Client) -> None:
    """Sign in as the one user there is without a login; list the models, and ask one, as the page does."""
    signed_in = client.post("/api/v1/auths/signin", json={"email": "", "password": ""}).raise_for_status().json()
    client.headers["authorization"] = f"Bearer {signed_in['token']}"
    models = client.get("/api/models").raise_for_status().json()["data"]
    print("models:", [model["id"] for model in models])
    body = {"model": "coe", "messages": [{"role": "user", "content": PROMPT}], "max_tokens": 16, "temperature": 0}
    whole = client.post("/api/chat/completions", json=body).raise_for_status().json()
    print(f"{whole['model']}:", whole["choices"][0]["message"]["content"])
    with client.stream("POST", "/api/chat/completions", json={**body, "stream": True}) as response:
        response.raise_for_status()
        lines = [line for line in response.iter_lines() if line]
    assert lines[-1] == "data: [DONE]", lines
    print(f"streamed: {len(lines)} lines, the last is [DONE]")


if __name__ == "__main__":
    main()
