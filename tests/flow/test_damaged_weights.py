"""Weights that are no numbers: each request fails by itself with an error that names the expert, and no other fails."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path

import pytest
import torch
from compositions import ask, with_runtime, write_config
from odd_folders import copied, edit_tensors
from safetensors.torch import load_file
from tiny_models import tiny_llama, tiny_model, tiny_tokenizer

from coe.errors import ExpertError
from coe.runtime import Runtime
from coe.types import GenerateRequest, Message, Sampling

NORMS = {"llama": "model.norm.weight", "gpt2": "transformer.ln_f.weight"}
SETTINGS = {
    "greedy": {},
    "sampled": {"temperature": 1.0, "seed": 1},
    "narrowed": {"temperature": 0.7, "top_p": 0.9, "top_k": 20, "min_p": 0.01},
    "log-probabilities": {"num_logprobs": 3},
    "sampled log-probabilities": {"temperature": 1.0, "num_logprobs": 3},
    "penalties": {"frequency_penalty": 1.0, "logit_bias": {5: -100.0}, "min_tokens": 3},
}


def damaged(source: Path, target: Path, name: str, value: float) -> Path:
    return copied(source, target, edit_tensors(lambda tensors: tensors[name].view(-1)[3:4].fill_(value)))


@pytest.mark.parametrize("kind", NORMS)
@pytest.mark.parametrize("value", [math.nan, math.inf], ids=["nan", "inf"])
def test_requests_to_damaged_weights_fail_by_name_and_others_answer(
    tmp_path: Path, llama_folder: Path, request: pytest.FixtureRequest, kind: str, value: float
) -> None:
    source = request.getfixturevalue(f"{kind}_folder")
    bad = damaged(source, tmp_path / "bad", NORMS[kind], value)

    async def work(runtime: Runtime) -> None:
        alone = await ask(runtime, "good", "hello", 8)
        asked = [ask(runtime, "bad", "hello", 8, **each) for each in SETTINGS.values()]
        *failed, together = await asyncio.gather(*asked, ask(runtime, "good", "hello", 8), return_exceptions=True)
        assert together == alone
        assert all(isinstance(error, ExpertError) for error in failed), failed
        assert all("expert 'bad': it" in str(error) and SAID in str(error) for error in failed)
        scored = GenerateRequest("scored", messages=(Message("user", "hello"),), expert="bad")
        with pytest.raises(ExpertError, match=f"'bad': it.*{SAID}"):  # by its breaker, too, which has seen enough
            await runtime.likelihoods(scored, [" one", " two"])

    with_runtime(write_config(tmp_path, {"good": llama_folder, "bad": bad}), work)


SAID = "produced NaN or infinite logits"
PARTS = ("q_proj.weight", "k_proj.weight", "v_proj.weight", "o_proj.weight", "gate_proj.weight", "down_proj.weight")


@pytest.mark.parametrize("head_dim", [16, 12], ids=["compiled", "torch"])
def test_damage_anywhere_in_a_layer_is_seen_by_the_shortest_prompt_and_by_later_tokens(
    tmp_path: Path, head_dim: int
) -> None:
    """Attention kernels took NaN scores for masked ones: clamps of an exponential, and torch's over a few keys."""
    good = (
        tiny_llama(tmp_path / "good", num_layers=2)
        if head_dim == 16
        else tiny_model("llama", tmp_path / "good", num_layers=2, head_dim=head_dim, hidden_size=48)
    )
    tensors = load_file(good / "model.safetensors")
    folders = {"good": good}
    for value in (math.nan, math.inf):
        for part in PARTS:
            (name,) = (each for each in tensors if each.endswith(part) and ".1." in each)
            folders[f"{part[:4].strip('_')}-{value}"] = damaged(good, tmp_path / f"{part}-{value}", name, value)

    async def work(runtime: Runtime) -> None:
        backends = {served.loaded.model.backend for served in runtime.experts.served.values()}
        assert len(backends) == 1
        assert ("compiled" in backends.pop()) == (head_dim == 16)
        assert await ask(runtime, "good", "hello", 3)
        for name in folders.keys() - {"good"}:
            for prompt, num_tokens in (("a", 1), ("a", 30), ("hello " * 40, 3)):
                with pytest.raises(ExpertError, match=f"'{name}': it produced NaN"):
                    await complete(runtime, name, prompt, num_tokens)

    with_runtime(write_config(tmp_path, folders), work)


async def complete(runtime: Runtime, name: str, prompt: str, num_tokens: int) -> None:
    """Continue a prompt of as few tokens as it has."""
    sampling = Sampling(max_tokens=num_tokens, temperature=0.0, ignore_eos=True)
    request = GenerateRequest(f"{name}-{len(prompt)}-{num_tokens}", prompt=prompt, expert=name, sampling=sampling)
    async for _ in runtime.generate(request):
        pass


def test_a_sequence_that_meets_no_damage_goes_on_beside_one_that_does(tmp_path: Path, llama_folder: Path) -> None:
    """One row of the embedding is damaged: only prompts with that token fail, in the same batch of the same expert."""
    (token_id,) = tiny_tokenizer().encode("Z", add_special_tokens=False)

    def damage(tensors: dict[str, torch.Tensor]) -> None:
        head = tensors["model.embed_tokens.weight"]
        tensors["lm_head.weight"] = head.clone()
        head[token_id] = math.nan

    bad = copied(llama_folder, tmp_path / "bad", edit_tensors(damage))
    config = bad / "config.json"
    config.write_text(config.read_text().replace('"tie_word_embeddings": true', '"tie_word_embeddings": false'))

    async def work(runtime: Runtime) -> None:
        expected = await ask(runtime, "good", "hello", 8)
        fine, failed = await asyncio.gather(
            ask(runtime, "bad", "hello", 8), ask(runtime, "bad", "Z", 8), return_exceptions=True
        )
        assert fine == expected
        assert isinstance(failed, ExpertError)

    with_runtime(write_config(tmp_path, {"good": llama_folder, "bad": bad}), work)


def test_masked_logits_are_no_damage() -> None:
    from coe.engine.sampling import Sampler, Waiting, sample

    logits = torch.full((3, 8), -math.inf)
    logits[0, 2], logits[1, 3] = 1.0, math.nan
    waiting = [Waiting(Sampler(Sampling(temperature=0.0, num_logprobs=1)), ())] * 3
    masked, broken, empty = sample(logits, waiting)
    assert masked is not None
    assert masked.token_id == 2
    assert (broken, empty) == (None, None)
