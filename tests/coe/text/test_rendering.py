"""Templates in processes of their own: transformers' texts, and bounds in time, memory and length."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from coe.text.rendering import OverrunError, RefusedError, Renderer, TooLongError, _Process

HELLO = [{"role": "user", "content": "Hello"}]
PLAIN = "{% for message in messages %}{{ message.content }}{% endfor %}"

IN_TIME = {
    "loops": "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "a power": "{{ (9**9) ** (9**9) }}",
    "indent": "{{ ('a\n' * 100000) | indent(100000) }}",
}
IN_MEMORY = {
    "a product": "{{ 'x' * 3000000000 }}",
    "of a list": "{{ [0] * 1000000000 }}",
    "center": "{{ 'x'.center(3000000000) }}",
    "the filter center": "{{ 'x' | center(3000000000) }}",
    "a format": "{{ '%3000000000d' % 1 }}",
    "another format": "{{ '{:3000000000}'.format(1) }}",
    "replace": "{{ ('a' * 100000) | replace('a', 'b' * 100000) }}",
    "doubling": "{% set n = namespace(a='x') %}{% for i in range(64) %}{% set n.a = n.a ~ n.a %}{% endfor %}{{ n.a }}",
    "JSON": "{{ messages | tojson(indent=1000000000) }}",
}
REFUSED = {
    "a range": "{{ range(10**9) | list }}",
    "recursion": "{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}",
    "depth": "{{ " + "(" * 50_000 + "1" + ")" * 50_000 + " }}",
    "an escape": "{{ messages.__class__.__mro__ }}",
    "a syntax error": "{{ messages",
    "a long reason": "{{ raise_exception('x' * 1000000) }}",
}


@pytest.fixture(scope="module")
def renderer() -> Iterator[Renderer]:
    one = Renderer()
    yield one
    one.close()


def render(renderer: Renderer, template: str, **more: bool) -> str:
    return renderer.render(template, HELLO, {}, max_chars=10_000, **more)


@pytest.mark.parametrize("template", IN_MEMORY.values(), ids=IN_MEMORY)
def test_memory_is_bounded_and_the_next_template_is_rendered(renderer: Renderer, template: str) -> None:
    with pytest.raises(OverrunError, match=r"more memory|processor time"):
        render(renderer, template)
    assert render(renderer, PLAIN) == "Hello"


@pytest.mark.parametrize("template", IN_TIME.values(), ids=IN_TIME)
def test_time_is_bounded_and_the_next_template_is_rendered(renderer: Renderer, template: str) -> None:
    with pytest.raises(OverrunError, match=r"0\.1 s of processor time"):
        render(renderer, template, is_quick=True)
    assert render(renderer, PLAIN, is_quick=True) == "Hello"


@pytest.mark.parametrize("template", REFUSED.values(), ids=REFUSED)
def test_what_a_template_raises_is_told_and_costs_no_process(renderer: Renderer, template: str) -> None:
    with pytest.raises(RefusedError) as caught:
        render(renderer, template)
    assert 0 < len(str(caught.value)) <= 500
    assert render(renderer, PLAIN) == "Hello"


def test_length_is_bounded(renderer: Renderer) -> None:
    with pytest.raises(TooLongError, match="20000 characters"):
        render(renderer, "{{ 'x' * 20000 }}")


def test_a_template_that_overran_a_quick_try_gets_no_other_and_succeeds_with_patience(renderer: Renderer) -> None:
    slow = "{% for i in range(3000) %}{% for j in range(2000) %}{% endfor %}{% endfor %}done"
    for _ in range(2):
        with pytest.raises(OverrunError):
            render(renderer, slow, is_quick=True)
    assert render(renderer, slow) == "done"


def test_a_template_that_overran_is_not_tried_again_on_as_much(renderer: Renderer) -> None:
    """Else each request to it would cost seconds of a processor; on less it is tried, for long prompts are no crime."""
    template = "{% if messages[0].content | length > 3 %}{{ 'x' * 3000000000 }}{% endif %}fine"
    for _ in range(2):
        with pytest.raises(OverrunError, match="memory"):
            render(renderer, template)
    assert renderer.render(template, [{"role": "user", "content": "Hi"}], {}, max_chars=100) == "fine"


def test_processes_that_were_killed_while_they_waited_cost_no_template_anything(renderer: Renderer) -> None:
    for process in list(renderer._idle):
        process._process.kill()
        process._process.wait()
    for is_quick in (True, False, True):
        assert render(renderer, PLAIN, is_quick=is_quick) == "Hello"


def test_a_process_that_ends_twice_with_the_same_conversation_is_its_templates_fault(
    renderer: Renderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(process: _Process, job: object) -> tuple[str, str]:
        process._process.kill()
        return real(process, job)

    real: Any = _Process.ask
    monkeypatch.setattr(_Process, "ask", killed)
    with pytest.raises(OverrunError, match="exit code -9"):
        render(renderer, PLAIN)
    monkeypatch.undo()
    assert render(renderer, PLAIN + "!") == "Hello!"


def test_workers_end_with_their_parent_even_if_it_is_killed() -> None:
    program = """
        import os, signal
        from coe.text.rendering import Renderer
        renderer = Renderer()
        renderer.render("", [{"role": "user", "content": ""}], {}, max_chars=1)
        print(*(each._process.pid for each in renderer._idle), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, text=True)
    workers = [int(pid) for pid in done.stdout.split()]
    assert len(workers) == 2
    for worker in workers:
        with suppress(ProcessLookupError):  # it has ended already
            select.select([os.pidfd_open(worker)], [], [])


def test_the_worker_imports_no_torch(renderer: Renderer) -> None:
    process = renderer._idle[-1]._process
    assert "libtorch" not in Path(f"/proc/{process.pid}/maps").read_text()
