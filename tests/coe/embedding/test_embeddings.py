"""Embeddings by the router's encoder: beside routing, in pieces."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
from compositions import write_config

from coe.assembly.router import build_encoder, build_router
from coe.assembly.wire import build_runtime
from coe.config.read import load_config
from coe.embedding.embeddings import cosines, shortened
from coe.embedding.requests import EmbedRequest, RerankRequest
from coe.errors import InvalidRequestError, UnknownExpertError
from coe.runtime import Runtime
from coe.types import Message, RouteQuery


@pytest.fixture
def runtime(tmp_path: Path, llama_folder: Path, other_llama_folder: Path) -> Runtime:
    """A runtime with the shipped router."""
    config = load_config(write_config(tmp_path, {"general": llama_folder, "math": other_llama_folder}))
    router = build_router(config.router, config.names)
    return build_runtime(config, router, encoder=build_encoder(config.router, router))


def test_routing_goes_on_while_a_long_list_is_embedded(runtime: Runtime) -> None:
    texts = tuple(f"text {at}: the quick brown fox jumps over the lazy dog " * 8 for at in range(256))

    async def run() -> tuple[int, np.ndarray]:
        await runtime.start()
        embedding = asyncio.create_task(runtime.embeddings.embed(EmbedRequest("e", texts)))
        num_routed = 0
        while num_routed < 8 and not embedding.done():
            await runtime.route(RouteQuery((Message("user", f"What is {num_routed} plus 5?"),)))
            num_routed += 1
        found = await embedding
        await runtime.close()
        return num_routed, found.vectors

    num_routed, vectors = asyncio.run(run())
    assert num_routed == 8
    assert vectors.shape == (256, 384)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_a_short_request_has_its_turn_between_the_pieces_of_a_long_one(runtime: Runtime) -> None:
    async def run() -> bool:
        await runtime.start()
        long = EmbedRequest("long", tuple(f"text number {at} " * 20 for at in range(200)))
        embedding = asyncio.create_task(runtime.embeddings.embed(long))
        await asyncio.sleep(0)
        await runtime.embeddings.embed(EmbedRequest("short", ("hello",)))
        was_first = not embedding.done()
        embedding.cancel()
        await asyncio.gather(embedding, return_exceptions=True)
        await runtime.close()
        return was_first

    assert asyncio.run(run())


def test_a_text_has_the_same_vector_in_any_company_and_counts_its_tokens(runtime: Runtime) -> None:
    async def run() -> None:
        await runtime.start()
        alone = await runtime.embeddings.embed(EmbedRequest("a", ("hello world",)))
        many = await runtime.embeddings.embed(EmbedRequest("b", ("other " * 50, "hello world", "x")))
        np.testing.assert_array_equal(alone.vectors[0], many.vectors[1])
        assert alone.model == "multilingual-e5-small"
        assert runtime.metrics.snapshot().requests["multilingual-e5-small", "ok"] == 2
        ids = await runtime.embeddings.embed(EmbedRequest("c", (tuple(range(5, 12)),)))
        assert ids.num_tokens == 7
        with pytest.raises(InvalidRequestError, match="'general' answers prompts and makes no vectors"):
            await runtime.embeddings.embed(EmbedRequest("d", ("x",), "general"))
        with pytest.raises(UnknownExpertError):
            await runtime.embeddings.embed(EmbedRequest("e", ("x",), "nobody"))
        with pytest.raises(InvalidRequestError, match=r"dimensions = 385, and 'multilingual-e5-small' has 384"):
            await runtime.embeddings.embed(EmbedRequest("f", ("x",), num_dims=385))
        await runtime.close()

    asyncio.run(run())


def test_documents_are_ranked_by_their_cosine(runtime: Runtime) -> None:
    documents = ("Bananas are yellow.", "Paris is the capital of France.", "The engine has four cylinders.")

    async def run() -> tuple[float, ...]:
        await runtime.start()
        ranked = await runtime.embeddings.rerank(RerankRequest("r", "What is the capital of France?", documents))
        await runtime.close()
        return ranked.scores

    scores = asyncio.run(run())
    assert max(scores) == scores[1]


def test_the_first_dimensions_are_normalised_anew() -> None:
    vectors = np.array([[0.6, 0.0, 0.8], [0.0, 0.0, 1.0]], np.float32)
    np.testing.assert_allclose(shortened(vectors, 2), [[1, 0], [0, 0]])
    assert shortened(vectors, 3) is vectors


def test_a_cosine_does_not_depend_on_lengths() -> None:
    documents = np.array([[2, 0], [0, 3], [0, 0], [-5, 0]], np.float32)
    np.testing.assert_allclose(cosines(np.array([7, 0], np.float32), documents), [1, 0, 0, -1], atol=1e-6)
