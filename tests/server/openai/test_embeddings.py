"""POST /v1/embeddings through OpenAI's own client, and what it refuses."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest
from compositions import write_config
from server_live import Live, live_server, post

from coe.assembly.router import build_encoder
from coe.config.read import load_config
from router import GeneralOnly

NAME = "multilingual-e5-small"


@pytest.fixture(scope="module")
def embedding(tmp_path_factory: pytest.TempPathFactory, llama_folder: Path) -> Iterator[Live]:
    """A server of one expert: the first request for an embedding loads the encoder."""
    file = write_config(tmp_path_factory.mktemp("embedding"), {"general": llama_folder})
    config = load_config(file)
    router = GeneralOnly(general="general", names=config.names)
    with live_server(file, router, encoder=build_encoder(config.router, router)) as server:
        yield server


@pytest.fixture(scope="module")
def client(embedding: Live) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{embedding.url}/v1", api_key="none", max_retries=0)


def vector(client: openai.OpenAI, text: str, **more: Any) -> np.ndarray:
    return np.array(client.embeddings.create(model=NAME, input=text, **more).data[0].embedding, np.float32)


def test_openais_client_gets_the_same_vectors_in_both_encodings(client: openai.OpenAI) -> None:
    """It asks for base64 by itself, and decodes it."""
    found = client.embeddings.create(model="coe", input=["hello world", "the fox"], user="me")
    assert found.model == NAME
    assert [each.index for each in found.data] == [0, 1]
    as_floats = vector(client, "hello world", encoding_format="float")
    np.testing.assert_allclose(found.data[0].embedding, as_floats, atol=1e-7)
    np.testing.assert_allclose(np.linalg.norm(as_floats), 1, atol=1e-5)
    assert found.usage.prompt_tokens == found.usage.total_tokens > 4


def test_base64_is_little_endian_float32(embedding: Live, client: openai.OpenAI) -> None:
    answer = post(embedding, "/v1/embeddings", {"model": NAME, "input": "fox", "encoding_format": "base64"}).json()
    decoded = np.frombuffer(base64.b64decode(answer["data"][0]["embedding"]), "<f4")
    np.testing.assert_array_equal(decoded, vector(client, "fox", encoding_format="float"))


def test_the_first_dimensions_have_length_one(client: openai.OpenAI) -> None:
    whole, cut = vector(client, "fox"), vector(client, "fox", dimensions=64)
    np.testing.assert_allclose(cut, whole[:64] / np.linalg.norm(whole[:64]), atol=1e-6)


def test_queries_and_documents_differ_and_a_query_is_the_default(client: openai.OpenAI) -> None:
    kinds = {kind: vector(client, "fox", extra_body={"input_type": kind}) for kind in ("query", "document", "passage")}
    np.testing.assert_array_equal(kinds["query"], vector(client, "fox"))
    np.testing.assert_array_equal(kinds["document"], kinds["passage"])
    assert not np.allclose(kinds["query"], kinds["document"])


def test_token_ids_are_the_encoders_own(client: openai.OpenAI) -> None:
    one = client.embeddings.create(model=NAME, input=[5, 6, 7])
    many = client.embeddings.create(model=NAME, input=[[5, 6, 7], [8, 9]])
    np.testing.assert_array_equal(one.data[0].embedding, many.data[0].embedding)
    assert (one.usage.prompt_tokens, many.usage.prompt_tokens) == (3, 5)


def test_a_text_that_is_too_long_is_refused_or_cut(client: openai.OpenAI) -> None:
    text = "the quick brown fox " * 300
    with pytest.raises(openai.BadRequestError, match="maximum context length is 512 tokens") as caught:
        client.embeddings.create(model=NAME, input=text)
    assert caught.value.code == "context_length_exceeded"
    whole = client.embeddings.create(model=NAME, input=text, extra_body={"truncate_prompt_tokens": -1})
    assert whole.usage.prompt_tokens == 512
    cut = client.embeddings.create(model=NAME, input=text, extra_body={"truncate_prompt_tokens": 16})
    assert cut.usage.prompt_tokens == 16


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"input": ""}, "input is an empty text"),
        ({"input": []}, "input is an empty list"),
        ({"input": ["a", ""]}, r"input\[1\] is an empty text"),
        ({"input": [[1], []]}, r"input\[1\] is an empty list"),
        ({"input": ["a", 3]}, "input is neither a text nor a list of token ids"),
        ({"input": [True]}, "neither a text nor"),
        ({"input": ["a"] * 2049}, "input has 2,049 texts"),
        ({"input": [10**9]}, "token id 1000000000 is none of"),
        ({"input": "a", "dimensions": 385}, "dimensions = 385, and 'multilingual-e5-small' has 384"),
        ({"input": "a", "dimension": 3}, "unknown field 'dimension'; did you mean 'dimensions'"),
        ({"input": "a", "input_type": "title"}, "input_type"),
        ({"input": "a", "model": "general"}, "'general' answers prompts and makes no vectors"),
        ({}, "input"),
    ],
)
def test_what_cannot_be_embedded_is_refused_by_name(embedding: Live, body: dict[str, Any], message: str) -> None:
    answer = post(embedding, "/v1/embeddings", {"model": NAME, **body})
    assert answer.status_code == 400
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(answer.json()["error"]["message"])


def test_a_server_without_an_encoder_says_so(live: Live) -> None:
    answer = post(live, "/v1/embeddings", {"input": "a"})
    assert answer.status_code == 400
    assert "there is no model for embeddings here by default" in answer.json()["error"]["message"]


def test_an_unknown_model_is_not_found(embedding: Live) -> None:
    assert post(embedding, "/v1/embeddings", {"model": "nobody", "input": "a"}).status_code == 404


def test_documents_come_best_first(embedding: Live) -> None:
    documents = ["Bananas are yellow.", {"text": "Paris is the capital of France."}, "Engines have cylinders."]
    body = {"model": NAME, "query": "What is the capital of France?", "documents": documents}
    answer = post(embedding, "/v1/rerank", {**body, "top_n": 2}).json()
    assert len(answer["results"]) == 2
    assert answer["results"][0]["index"] == 1
    assert answer["results"][0]["document"] == {"text": "Paris is the capital of France."}
    assert answer["results"][0]["relevance_score"] >= answer["results"][1]["relevance_score"]
    assert answer["usage"]["prompt_tokens"] > 20
    bare = post(embedding, "/v1/rerank", {**body, "return_documents": False}).json()
    assert [set(each) for each in bare["results"]] == [{"index", "relevance_score"}] * 3
