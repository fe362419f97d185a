"""`coe router` runs the router's own commands and refuses bad input."""

from __future__ import annotations

from console import coe


def test_router_commands_are_the_routers_own_and_refuse_bad_input_with_2() -> None:
    assert coe("-v", "router", "explain", "Write a Python function").stdout.splitlines()[0].startswith("code")
    done = coe("router", "evaluate", "/no/such/prompts.jsonl")
    assert done.returncode == 2
    assert "/no/such/prompts.jsonl" in done.stderr
    assert "Traceback" not in done.stderr
