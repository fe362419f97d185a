"""LiteLLM's proxy in front of coe: it is started here, and asked with the openai package, whole and streamed.

Needs: litellm[proxy]>=1.80 and openai>=2. Run: python with_litellm_proxy.py (COE_URL is the server,
http://127.0.0.1:8000 by default; COE_PROXY_PORT is the proxy's port, 18400 by default).
"""

# /// script
# requires-python = ">=3.11"
# dependencies = ["litellm[proxy]>=1.80", "openai>=2"]
# ///

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
from openai import OpenAI

URL = os.environ.get("COE_URL", "http://127.0.0.1:8000")
PORT = int(os.environ.get("COE_PROXY_PORT", "18400"))
PROMPT = "What is the capital of France?"
STARTS_WITHIN_S = 180
# `openai/` says which dialect the server behind speaks; every other name stays coe's
CONFIG = f"""
model_list:
  - model_name: routed
    litellm_params: {{model: openai/coe, api_base: "{URL}/v1", api_key: os.environ/COE_API_KEY}}
  - model_name: code
    litellm_params: {{model: openai/code, api_base: "{URL}/v1", api_key: os.environ/COE_API_KEY}}
litellm_settings: {{telemetry: false}}
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "litellm.yaml"
        config.write_text(CONFIG)
        command = [str(Path(sys.executable).with_name("litellm")), "--config", str(config), "--host", "127.0.0.1"]
        key = f"sk-{secrets.token_hex(16)}"  # the proxy starts with none but a strong one
        environment = {**os.environ, "COE_API_KEY": os.environ.get("COE_API_KEY") or "none", "LITELLM_MASTER_KEY": key}
        with (Path(folder) / "log").open("w") as log:
            proxy = subprocess.Popen([*command, "--port", str(PORT)], env=environment, stdout=log, stderr=log)
        try:
            wait_until_it_lives(proxy, Path(folder) / "log")
            ask(OpenAI(base_url=f"http://127.0.0.1:{PORT}/v1", api_key=key))
        finally:
            proxy.terminate()
            proxy.wait()


def wait_until_it_lives(proxy: subprocess.Popen[bytes], log: Path) -> None:
    ends_s = time.monotonic() + STARTS_WITHIN_S
    while time.monotonic() < ends_s and proxy.poll() is None:
        try:
            httpx.get(f"http://127.0.0.1:{PORT}/health/liveliness").raise_for_status()
        except httpx.HTTPError:
            time.sleep(0.5)
        else:
            return
    raise SystemExit(f"the proxy did not start:\n{log.read_text()[-2000:]}")


def ask(client: OpenAI) -> None:
    print("models:", [model.id for model in client.models.list()])
    texts = []
    for name in ("routed", "code"):
        raw = client.chat.completions.with_raw_response.create(
            model=name, messages=[{"role": "user", "content": PROMPT}], max_tokens=16, temperature=0
        )
        texts.append(raw.parse().choices[0].message.content)
        # the proxy passes the headers of the server behind on under a prefix of its own
        print(f"{name} was answered by {raw.headers.get('llm_provider-x-coe-expert')}:", texts[-1])
    stream = client.chat.completions.create(
        model="routed", messages=[{"role": "user", "content": PROMPT}], max_tokens=16, temperature=0, stream=True
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
    assert text == texts[0], text
    print("streamed: the same text")


if __name__ == "__main__":
    main()
