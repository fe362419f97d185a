"""The page in a browser, over a live server with tiny models: send, stop, compare, lose the server, keys alone, axe.

Needs playwright, axe-playwright-python and Chromium (on the path, or where COE_CHROMIUM says).
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from api_keys import secret_of, write_keys
from compositions import write_config
from server_live import Live, live_server

sync_api = pytest.importorskip("playwright.sync_api", reason="the page needs playwright: pip install coe-serve[dev]")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe needs axe-playwright-python")
CHROMIUM = os.environ.get("COE_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
if CHROMIUM is None:
    pytest.skip("there is no Chromium; install it or name it in COE_CHROMIUM", allow_module_level=True)

Page = Any
IDLE = "#send[data-state=false]"
ANSWERED = ".answer[data-state=done]"
LONG = 400  # tokens that take a tiny model some tenths of a second, which is too short to look from outside
ESCAPE_WHEN_WRITING = """() => {
    const watcher = new MutationObserver(() => {
        if (!document.querySelector('.answer[data-state=writing]')) return;
        watcher.disconnect();
        document.querySelector('#prompt').dispatchEvent(new KeyboardEvent('keydown', {key: 'Escape', bubbles: true}));
    });
    watcher.observe(document.querySelector('#turns'), {subtree: true, childList: true, attributes: true});
}"""


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory, llama_folder: Path, other_llama_folder: Path) -> Iterator[Live]:
    config = write_config(tmp_path_factory.mktemp("page"), {"general": llama_folder, "code": other_llama_folder})
    with live_server(config, keep_alive_s=0.2) as server:
        yield server


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Page]]:
    """Opens pages; at the end no script has failed, and no other host was asked."""
    contexts, wrong, hosts = [], [], set()

    def opened(url: str, **options: Any) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1300, "height": 850}, **options})
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda said: wrong.append(said.text) if "Content Security Policy" in said.text else None)
        page.on("request", lambda request: hosts.add(request.url.split("/")[2]))
        page.goto(url)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert wrong == []
    assert all(host.startswith("127.0.0.1:") for host in hosts)


def send(page: Page, prompt: str, max_tokens: int = 4) -> None:
    page.evaluate("document.querySelector('#settings').open = true")
    page.fill("#max_tokens", str(max_tokens))
    page.fill("#prompt", prompt)
    page.press("#prompt", "Enter")


def watched(page: Page) -> Page:
    page.wait_for_selector("body[data-watch=watching]")
    page.wait_for_selector("#model option[value=code]", state="attached")
    return page


def violations(page: Page) -> list[str]:
    found = axe.Axe().run(page).response["violations"]
    return [f"{each['id']}: {node['html']}" for each in found for node in each["nodes"]]


def test_a_prompt_is_answered_and_the_answer_says_by_whom_why_and_at_what_cost(
    live: Live, visit: Callable[..., Page]
) -> None:
    page = watched(visit(live.url))
    send(page, "hello")
    page.wait_for_selector(ANSWERED)
    assert page.inner_text(".answer .who strong") == "general"
    facts = page.inner_text(".answer .facts")
    assert "first token after" in facts
    assert "4 tokens" in facts
    page.reload()
    assert page.inner_text(".prompt").endswith("hello")  # a reload loses nothing
    page.click("#new")
    assert page.locator(".turn").count() == 0


def test_an_answer_can_be_stopped_edited_and_asked_again(live: Live, visit: Callable[..., Page]) -> None:
    page = watched(visit(live.url))
    page.evaluate(ESCAPE_WHEN_WRITING)
    send(page, "go on", LONG)
    page.wait_for_selector(".answer[data-state=stopped]")
    page.wait_for_selector(IDLE)
    page.click("[aria-label='Edit this prompt']")
    assert page.input_value("#prompt") == "go on"
    assert page.locator(".turn").count() == 0
    send(page, "shorter")
    page.wait_for_selector(ANSWERED)
    page.click("[aria-label='Ask again']")
    page.wait_for_selector(ANSWERED)
    assert page.locator(".turn").count() == 1
    assert page.inner_text(".prompt").endswith("shorter")


def test_two_experts_answer_the_same_prompt_side_by_side(live: Live, visit: Callable[..., Page]) -> None:
    page = watched(visit(live.url))
    page.evaluate("document.querySelector('#settings').open = true")
    page.fill("#max_tokens", "4")
    page.click("#tab-compare")
    for name, is_wanted in (("coe", False), ("general", True), ("code", True)):
        page.set_checked(f"#compare-models input[value={name}]", is_wanted, force=True)
    page.fill("#compare-prompt", "hello")
    page.press("#compare-prompt", "Enter")
    page.wait_for_selector(".column:nth-child(1) .answer[data-state=done]")
    page.wait_for_selector(".column:nth-child(2) .answer[data-state=done]")
    assert page.locator(".column h3").all_inner_texts() == ["general", "code"]
    page.set_checked("#compare-models input[value=code]", False, force=True)
    page.press("#compare-prompt", "Enter")
    assert page.inner_text("#compare-error") == "Choose two or more."


def test_the_tiers_show_where_each_expert_is_and_an_operator_moves_it(live: Live, visit: Callable[..., Page]) -> None:
    page = watched(visit(live.url))
    send(page, "@code hello")
    page.wait_for_selector(ANSWERED)
    row = page.locator("#tiers tr", has_text="code")
    row.locator("td:first-of-type .block.whole").wait_for()
    assert page.locator("#tiers thead th").all_inner_texts()[1].startswith("Device = RAM")  # a CPU has one memory
    assert page.is_visible("#one-memory")
    assert "code" in page.inner_text("#decision")
    row.locator("summary").click()
    row.get_by_role("button", name="Pin code", exact=True).click()
    row.locator(".mark.pin").wait_for()
    row.get_by_role("button", name="Unpin code").click()
    row.locator(".mark.pin").wait_for(state="detached")
    row.get_by_role("button", name="Unload code").click()
    row.locator("td:first-of-type .block.whole").wait_for(state="detached")
    assert "left memory, unloaded" in page.inner_text("#happenings")


def test_a_server_that_is_gone_is_seen_and_the_page_goes_on_when_it_is_back(
    tmp_path: Path, llama_folder: Path, other_llama_folder: Path, visit: Callable[..., Page]
) -> None:
    config = write_config(tmp_path, {"general": llama_folder, "code": other_llama_folder})
    with live_server(config, keep_alive_s=0.2) as first:
        page = watched(visit(first.url))
        assert page.is_hidden("#gone")
    page.wait_for_selector("#gone", state="visible")
    assert "does not answer" in page.inner_text("#gone")
    send(page, "is anybody there?")
    page.wait_for_selector(".answer[data-state=failed]")
    with live_server(config, keep_alive_s=0.2, port=int(first.url.rsplit(":", 1)[1])):
        page.wait_for_selector("#gone", state="hidden")
        page.click("[aria-label='Ask again']")
        page.wait_for_selector(ANSWERED)
        page.close()


def test_everything_is_done_by_keys_alone(live: Live, visit: Callable[..., Page]) -> None:
    page = watched(visit(live.url))
    keys = page.keyboard
    keys.press("s")
    keys.type("Be brief.")
    for _ in range(3):  # past temperature and top p
        keys.press("Tab")
    keys.type("4")
    keys.press("Escape")
    keys.press("/")
    keys.type("hello")
    keys.press("Shift+Enter")
    keys.type("there")
    keys.press("Enter")
    page.wait_for_selector(ANSWERED)
    assert page.inner_text(".prompt").endswith("hello\nthere")
    assert page.input_value("#max_tokens") == "4"
    keys.press("Escape")
    keys.press("e")
    assert page.input_value("#prompt") == "hello\nthere"
    keys.press("Escape")
    keys.press("?")
    page.wait_for_selector("#help[open]")
    keys.press("Escape")
    page.wait_for_selector("#help[open]", state="hidden")
    keys.press("2")
    keys.press("/")
    keys.type("both")
    keys.press("Enter")
    page.wait_for_selector(".column:nth-child(2) .answer[data-state=done]")
    keys.press("Escape")
    keys.press("t")
    assert page.get_attribute("html", "data-theme") == "light"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1300, 390])
def test_axe_finds_nothing(live: Live, visit: Callable[..., Page], scheme: str, width: int) -> None:
    page = watched(
        visit(live.url, viewport={"width": width, "height": 800}, color_scheme=scheme, reduced_motion="reduce")
    )
    assert violations(page) == []
    send(page, "hello")
    page.wait_for_selector(ANSWERED)
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width  # nothing sticks out to the side
    page.click("#tab-compare")
    assert violations(page) == []
    if page.is_visible("#tab-experts"):
        page.click("#tab-experts")
        assert page.is_visible("#tiers")
        assert violations(page) == []
    page.click("#help-open")
    assert violations(page) == []


def test_who_has_no_key_is_asked_for_one_and_only_an_admin_sees_the_experts(
    tmp_path: Path, llama_folder: Path, visit: Callable[..., Page]
) -> None:
    access = write_keys(tmp_path, alice="", ops="admin = true")
    with live_server(write_config(tmp_path, {"general": llama_folder}, access), keep_alive_s=0.2) as keyed:
        page = visit(keyed.url)
        page.wait_for_selector("#key-form", state="visible")
        assert page.inner_text("#key-note") == "This server asks for an API key."
        for name, state in (("alice", "refused"), ("ops", "watching")):
            page.fill("#key", secret_of(name))
            page.press("#key", "Enter")
            page.wait_for_selector(f"body[data-watch={state}]")
            assert page.is_visible("#experts") == (state == "watching")
            assert ("operator" in page.inner_text("#refused")) == (state == "refused")
            send(page, "hello")
            page.wait_for_selector(f".turn:last-child {ANSWERED}")
        assert page.evaluate("localStorage.getItem('key')") is None
        page.close()


def module(page: Page, name: str, body: str, given: object = None) -> Any:
    """Run a function's body in the page, which has `it`, one of the page's modules, and `given`."""
    return page.evaluate(f"async given => {{ const it = await import('/page/{name}'); {body} }}", given)


def test_what_a_model_writes_runs_nothing_and_asks_nobody(live: Live, visit: Callable[..., Page]) -> None:
    page = visit(live.url)
    wicked = (
        "<img src=x onerror=alert(1)> ![p](https://evil.example/p.png) [a](javascript:alert(1)) [b](https://b.example)\n"
        "<script>alert(1)</script><style>body{display:none}</style><form action=/x><input></form>\n\n"
        "```html\n<b>bold</b>\n```"
    )
    body = "const box = document.createElement('div'); box.append(it.rendered(given)); return box.innerHTML;"
    html = module(page, "markdown.js", body, wicked)
    for tag in ("<img", "<script", "<style", "<form", "<input", "javascript:"):
        assert tag not in html
    assert 'href="https://b.example"' in html
    assert "&lt;b&gt;bold&lt;/b&gt;" in html
    code = module(page, "markdown.js", body, "def f(s):\n    return s")
    assert "def f(s):\n    return s</code>" in code  # an expert of code writes no fence


def test_an_answer_shows_what_it_waits_for_until_it_is_written(live: Live, visit: Callable[..., Page]) -> None:
    """A new answer was taken for one that an earlier page had left open: nothing was shown before the first token."""
    body = """
        const {Answer} = await import('/page/answer.js');
        const answer = new Answer(), view = new it.AnswerView(answer);
        const bar = () => view.progress.querySelector('progress')?.value;
        const shown = () => [answer.state, view.progress.hidden, view.progress.textContent, bar()];
        const said = [shown()];
        for (const block of given) { answer.take(block); view.show(); said.push(shown()); }
        return said;
    """
    waiting = 'waiting {"expert": "sql", "position": 1, "queued": 1, "loaded_bytes": 1000000, "size_bytes": 4000000}'
    begun = json.dumps(
        {"model": "sql", "choices": [{"index": 0, "delta": {"content": "SELECT"}, "finish_reason": None}]}
    )
    asking, loading, writing = module(
        visit(live.url), "answer_view.js", body, [{"comment": waiting}, {"event": "message", "data": begun}]
    )
    assert asking[:3] == ["asking", False, "Asking the router …"]
    assert loading == ["asking", False, "sql: 1st in the queue, 25 % of 4.0 MB loaded", 0.25]
    assert writing[:2] == ["writing", True]


def test_what_is_waited_for_is_said_in_words(live: Live, visit: Callable[..., Page]) -> None:
    waiting = {"expert": "sql", "position": 2, "queued": 5, "loaded_bytes": 108_000_000, "size_bytes": 270_000_000}
    text = module(visit(live.url), "answer_view.js", "return it.waitingText(given);", waiting)
    assert text == "sql: 2nd in the queue, 40 % of 270 MB loaded"


def test_a_stream_is_read_whole_however_it_is_cut(live: Live, visit: Callable[..., Page]) -> None:
    text = ': waiting {"a": 1}\n\nevent: load\nid: 7\ndata: {"é": "x:y"}\n\ndata: [DONE]\n\n'
    body = """
        const bytes = new TextEncoder().encode(given), found = [];
        const start = out => { for (const byte of bytes) out.enqueue(Uint8Array.of(byte)); out.close(); };
        const cut = new ReadableStream({start});
        for await (const block of it.blocks(new Response(cut))) found.push(block);
        return JSON.stringify(found);
    """
    blocks = json.loads(module(visit(live.url), "sse.js", body, text))
    assert blocks == [
        {"comment": 'waiting {"a": 1}'},
        {"event": "load", "id": "7", "data": '{"é": "x:y"}'},
        {"event": "message", "id": None, "data": "[DONE]"},
    ]


def test_shared_bytes_count_once_in_a_tier(live: Live, visit: Callable[..., Page]) -> None:
    def expert(name: str, other: str, ready: int) -> dict[str, object]:
        resident = {"ready_bytes": ready, "moving_bytes": 0}
        shared = [{"experts": [other], "bytes": 40}]
        return {"name": name, "size_bytes": 100, "shared": shared, "host": resident, "device": resident}

    snapshot = {
        "time": 0,
        "state": "ready",
        "has_one_memory": False,
        "tiers": [{"tier": "host", "used_bytes": 0, "budget_bytes": 500}],
        "kv_budget_bytes": 0,
        "experts": [expert("a", "b", 100), expert("b", "a", 40)],
        "queue": {"experts": {}, "kv_used_bytes": 0},
        "requests": [{"phase": "arrived", "id": "1", "expert": None, "because": None}],  # a snapshot has nulls
        "throughput": [],
    }
    body = "const m = new it.Machine(); m.take('snapshot', given); return [m.used('host'), m.used('disk'), m.decision];"
    assert module(visit(live.url), "machine.js", body, snapshot) == [100, 160, None]


def test_the_first_examples_fit_the_experts_that_are_there(live: Live, visit: Callable[..., Page]) -> None:
    body = "return it.examplesFor(given).map(each => each.expert);"
    page = visit(live.url)
    demo = ["general", "reasoning", "tools", "intent", "code"]
    assert module(page, "examples.js", body, demo) == ["code", "intent", "reasoning", None]
    assert module(page, "examples.js", body, ["general"]) == [None, None]


def test_a_page_from_another_version_passes_over_what_it_does_not_know(live: Live, visit: Callable[..., Page]) -> None:
    body = "const m = new it.Machine(); m.take('something_new', {}); return m.happenings.length;"
    assert module(visit(live.url), "machine.js", body) == 0
    assert httpx.get(live.url).status_code == 200
