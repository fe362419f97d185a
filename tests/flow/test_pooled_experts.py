"""Embedding and rerank experts give sentence-transformers' own numbers: alone, together, evicted, on every device."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import openai
import pytest
from compositions import ask, integrity, with_runtime
from sentence_transformers import CrossEncoder, SentenceTransformer
from server_live import live_server, post
from tiny_models import tiny_llama
from tiny_poolers import tiny_embedder, tiny_reranker
from transformers import AutoConfig, AutoModel, AutoModelForMaskedLM

from coe.embedding.requests import EmbedRequest, RerankRequest
from coe.errors import ContextLengthError, InvalidRequestError, OverloadedError
from coe.runtime import Runtime
from coe.types import Tier

TEXTS = ("the quick brown fox", "a", "jumps over the lazy dog and runs", "one two three four five six seven")
QUERY, DOCUMENTS = "what fox", ("a lazy dog", "brown foxes jump", "x")
EMBEDDERS = {
    "bert": {"mode": "mean"},
    "roberta": {"mode": "cls"},
    "distilbert": {"mode": "max", "modules": 2},
    "qwen3": {"mode": "lasttoken"},
    "modernbert": {"mode": "mean"},
}
RERANKERS = {"bert": 1, "xlm-roberta": 1, "electra": 2}


class Folders(NamedTuple):
    chat: Path
    embedders: dict[str, Path]
    rerankers: dict[str, Path]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    base = tmp_path_factory.mktemp("poolers")
    return Folders(
        tiny_llama(base / "chat"),
        {name: tiny_embedder(base / name, name, **use) for name, use in EMBEDDERS.items()},  # type: ignore[arg-type]
        {f"r-{name}": tiny_reranker(base / f"r-{name}", name, num_labels=n) for name, n in RERANKERS.items()},
    )


def write(folder: Path, folders: Folders, *, device: str = "cpu", budget: str = "64MB", more: str = "") -> Path:
    lines = ["[experts]", f'general = "{folders.chat}"']
    for kind, each in (("embedding", folders.embedders), ("rerank", folders.rerankers)):
        for name, source in each.items():
            lines += [f"[experts.{name}]", f'source = "{source}"', f'kind = "{kind}"', f'aliases = ["{name}-alias"]']
    lines += ["[cache]", f'dir = "{folder / "store"}"', 'host_bytes = "64MB"']
    lines += [f'device_bytes = "{budget}"'] if device == "emulated" else []
    lines += ["[engine]", f'device = "{device}"', 'dtype = "float32"', "num_threads = 1", more]
    file = folder / "coe.toml"
    file.write_text("\n".join(lines))
    return file


def their_vectors(folder: Path, texts: Sequence[str] = TEXTS) -> np.ndarray:
    model = SentenceTransformer(str(folder), device="cpu")
    return np.stack([model.encode(text) for text in texts])


def their_scores(folder: Path) -> np.ndarray:
    model = CrossEncoder(str(folder), device="cpu")
    pairs = [(QUERY, document) for document in DOCUMENTS]
    if model.num_labels == 1:
        return np.array([model.predict([pair])[0] for pair in pairs])
    return np.array([model.predict([pair], apply_softmax=True)[0][1] for pair in pairs])


async def my_vectors(runtime: Runtime, name: str, *texts: str) -> np.ndarray:
    return (await runtime.embeddings.embed(EmbedRequest(f"{name}-{id(texts)}", texts, name))).vectors


@pytest.mark.parametrize("device", ["cpu", "emulated"])
def test_numbers_are_sentence_transformers_own_alone_together_and_after_eviction(
    tmp_path: Path, folders: Folders, device: str
) -> None:
    """The emulated device holds about two experts, so every other question evicts one."""
    vectors = {name: their_vectors(folder) for name, folder in folders.embedders.items()}
    scores = {name: their_scores(folder) for name, folder in folders.rerankers.items()}

    async def work(runtime: Runtime) -> None:
        assert not runtime.experts.errors
        for _ in range(2):
            for name, expected in vectors.items():
                together = await my_vectors(runtime, f"{name}-alias", *TEXTS)
                np.testing.assert_allclose(together, expected, atol=1e-5)
                for at, text in enumerate(TEXTS[:2]):
                    np.testing.assert_array_equal((await my_vectors(runtime, name, text))[0], together[at])
            for name, expected in scores.items():
                found = await runtime.embeddings.rerank(RerankRequest(f"{name}-{id(object())}", QUERY, DOCUMENTS, name))
                np.testing.assert_allclose(found.scores, expected, atol=1e-5)
            assert await ask(runtime, "general", "hello", 4)
            await integrity(runtime)
        loads = {status.name: status.num_loads for status in runtime.operator.experts()}
        assert device == "cpu" or max(loads.values()) > 1, loads

    with_runtime(write(tmp_path, folders, device=device, budget="800kB"), work)


def test_everybody_at_once_beside_an_answer(tmp_path: Path, folders: Folders) -> None:
    expected = {name: their_vectors(folder) for name, folder in folders.embedders.items()}

    async def work(runtime: Runtime) -> None:
        asked = [my_vectors(runtime, name, *TEXTS) for name in expected]
        *found, answer = await asyncio.gather(*asked, ask(runtime, "general", "hello", 16))
        assert answer
        for mine, theirs in zip(found, expected.values(), strict=True):
            np.testing.assert_allclose(mine, theirs, atol=1e-5)
        switches = runtime.metrics.snapshot().switches
        assert sum(switches.values()) >= len(expected)

    with_runtime(write(tmp_path, folders, device="emulated", budget="800kB"), work)


def test_a_text_longer_than_a_step_runs_whole(tmp_path: Path, folders: Folders) -> None:
    text = "the quick brown fox jumps"

    async def work(runtime: Runtime) -> None:
        mine = await my_vectors(runtime, "bert", text, "a")
        np.testing.assert_allclose(mine, their_vectors(folders.embedders["bert"], (text, "a")), atol=1e-5)

    with_runtime(write(tmp_path, folders, more="max_step_tokens = 4"), work)


def test_they_are_loaded_pinned_and_unloaded_as_others_are(tmp_path: Path, folders: Folders) -> None:
    async def work(runtime: Runtime) -> None:
        def tier(name: str) -> Tier:
            return next(each.tier for each in runtime.operator.experts() if each.name == name)

        await runtime.operator.pin("bert-alias")
        assert tier("bert") is Tier.DEVICE
        assert {each.name: each.kind for each in runtime.operator.experts()}["r-bert"] == "rerank"
        await runtime.operator.unpin("bert")
        await runtime.operator.unload("bert")
        assert tier("bert") is not Tier.DEVICE
        await my_vectors(runtime, "bert", "a")
        assert tier("bert") is Tier.DEVICE

    with_runtime(write(tmp_path, folders, device="emulated"), work)


def test_prompts_do_not_go_to_them_nor_texts_to_others(tmp_path: Path, folders: Folders) -> None:
    async def work(runtime: Runtime) -> None:
        for name, prompt in (("bert", "hello"), ("r-bert-alias", "hello"), (None, "@bert, hello")):
            with pytest.raises(InvalidRequestError, match=r"is of kind \"(embedding|rerank)\" and answers no prompts"):
                await ask(runtime, name, prompt)  # type: ignore[arg-type]
        with pytest.raises(InvalidRequestError, match="'general' answers prompts and makes no vectors; models for"):
            await my_vectors(runtime, "general", "a")
        with pytest.raises(InvalidRequestError, match="'r-bert' reranks"):
            await my_vectors(runtime, "r-bert", "a")
        with pytest.raises(ContextLengthError, match="maximum context length is 64 tokens for 'bert'"):
            await my_vectors(runtime, "bert", "a fox " * 40)
        cut = await runtime.embeddings.embed(EmbedRequest("cut", ("a fox " * 40,), "bert", truncate_to=0))
        assert cut.num_tokens == 64
        by_cosine = await runtime.embeddings.rerank(RerankRequest("r", QUERY, DOCUMENTS, "distilbert"))
        assert all(-1.001 < score < 1.001 for score in by_cosine.scores)

    with_runtime(write(tmp_path, folders), work)


def test_pairs_are_cut_in_their_document(tmp_path: Path, folders: Folders) -> None:
    async def work(runtime: Runtime) -> None:
        def asked(query: str, document: str, cut: int | None) -> RerankRequest:
            return RerankRequest(f"r{id(object())}", query, (document,), "r-bert", cut)

        with pytest.raises(ContextLengthError, match="64 tokens"):
            await runtime.embeddings.rerank(asked("a", "b " * 100, None))
        with pytest.raises(ContextLengthError, match="64 tokens"):
            await runtime.embeddings.rerank(asked("a " * 100, "b", 0))
        cut = await runtime.embeddings.rerank(asked("a", "b " * 100, 0))
        whole = await runtime.embeddings.rerank(asked("a", "b " * 60, None))
        assert cut == whole
        assert cut.num_tokens == 64

    with_runtime(write(tmp_path, folders), work)


def test_a_full_queue_refuses_and_a_list_longer_than_the_queue_does_not(tmp_path: Path, folders: Folders) -> None:
    more = "[scheduler]\nmax_queue = 16"

    async def work(runtime: Runtime) -> None:
        assert len(await my_vectors(runtime, "bert", *(["a fox"] * 50))) == 50
        asked = [my_vectors(runtime, "bert", *[f"fox {at}"] * 16) for at in range(8)]
        found = await asyncio.gather(*asked, return_exceptions=True)
        assert {type(each) for each in found} <= {np.ndarray, OverloadedError}
        assert len(await my_vectors(runtime, "bert", "a fox")) == 1

    with_runtime(write(tmp_path, folders, more=more), work)


def test_a_request_that_is_given_up_leaves_nothing_in_the_engine(tmp_path: Path, folders: Folders) -> None:
    async def work(runtime: Runtime) -> None:
        asking = asyncio.create_task(my_vectors(runtime, "bert", *(["a fox"] * 200)))
        await my_vectors(runtime, "bert", "a")
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await asyncio.wrap_future(runtime.engine.call(lambda: None))
        deadline_s = time.monotonic() + 60
        while runtime.engine.status.num_requests("bert"):  # what was in a step when it was given up ends with the step
            assert time.monotonic() < deadline_s
            await my_vectors(runtime, "bert", "a")

    with_runtime(write(tmp_path, folders), work)


def test_over_http_they_are_asked_where_they_belong(tmp_path: Path, folders: Folders) -> None:
    with live_server(write(tmp_path, folders)) as live:
        client = openai.OpenAI(base_url=f"{live.url}/v1", api_key="none", max_retries=0)
        found = client.embeddings.create(model="bert", input=list(TEXTS), dimensions=8)
        expected = their_vectors(folders.embedders["bert"])[:, :8]
        expected /= np.linalg.norm(expected, axis=1, keepdims=True)
        np.testing.assert_allclose([each.embedding for each in found.data], expected, atol=1e-5)
        body = {"model": "r-bert", "query": QUERY, "documents": list(DOCUMENTS)}
        ranked = post(live, "/v1/rerank", body).json()
        scores = their_scores(folders.rerankers["r-bert"])
        assert [each["index"] for each in ranked["results"]] == list(np.argsort(-scores))
        np.testing.assert_allclose(
            [each["relevance_score"] for each in ranked["results"]], -np.sort(-scores), atol=1e-5
        )
        kinds = {model.id: model.model_extra["kind"] for model in client.models.list()}  # type: ignore[index]
        assert (kinds["general"], kinds["bert"], kinds["r-bert"]) == ("chat", "embedding", "rerank")
        for path, asked in (
            ("/v1/chat/completions", {"model": "bert", "messages": [{"role": "user", "content": "hi"}]}),
            ("/v1/completions", {"model": "r-bert", "prompt": "hi"}),
            ("/v1/completions", {"model": "bert", "prompt": [1, 2, 3]}),
            ("/v1/route", {"model": "bert", "prompt": "hi"}),
            ("/tokenize", {"model": "bert", "prompt": "hi"}),
        ):
            answer = post(live, path, asked)
            assert answer.status_code == 400, path
            assert "answers no prompts" in answer.json()["error"]["message"]
        nameless = post(live, "/v1/embeddings", {"input": "a"})
        assert nameless.status_code == 400
        assert "name one: bert, " in nameless.json()["error"]["message"]


def test_states_of_a_larger_model_make_vectors_too(tmp_path: Path, folders: Folders) -> None:
    """A checkpoint with a head has the model's prefix in front of every name, and tensors that vectors do not need."""
    source = tiny_embedder(tmp_path / "masked", "bert", seed=5)
    expected = their_vectors(source)
    masked = AutoModelForMaskedLM.from_config(AutoConfig.from_pretrained(source)).eval()
    masked.bert.load_state_dict(AutoModel.from_pretrained(source).state_dict(), strict=False)
    masked.save_pretrained(source)

    async def work(runtime: Runtime) -> None:
        np.testing.assert_allclose(await my_vectors(runtime, "masked", *TEXTS), expected, atol=1e-5)

    with_runtime(write(tmp_path, folders._replace(embedders={"masked": source}, rerankers={})), work)
