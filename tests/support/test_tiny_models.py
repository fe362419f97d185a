"""The builders themselves: deterministic, loadable, and different where they should be."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny_models
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

BUILDERS = ("tiny_llama", "tiny_qwen2", "tiny_qwen3", "tiny_mistral", "tiny_gpt2")


@pytest.mark.parametrize("builder", BUILDERS)
def test_model_loads_and_its_answers_depend_on_the_prompt(tmp_path: Path, builder: str) -> None:
    folder = getattr(tiny_models, builder)(tmp_path / "model")
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    answers = set()
    for prompt in ("What is the capital of France?", "SELECT name FROM customers"):
        chat = [{"role": "user", "content": prompt}]
        inputs = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
        output = model.generate(**inputs, max_new_tokens=16, do_sample=False)
        answers.add(tuple(output[0, inputs["input_ids"].shape[1] :].tolist()))
    assert len(answers) == 2
    assert all(len(set(answer)) > 3 for answer in answers)


def test_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    first, again, other = (
        tiny_models.tiny_llama(tmp_path / name, seed=seed) / "model.safetensors"
        for name, seed in (("first", 0), ("again", 0), ("other", 1))
    )
    assert first.read_bytes() == again.read_bytes()
    assert first.read_bytes() != other.read_bytes()


def test_sharded_model_has_several_files(tmp_path: Path) -> None:
    folder = tiny_models.tiny_llama(tmp_path / "model", sharded=True, dtype="bfloat16")
    assert len(list(folder.glob("model-*-of-*.safetensors"))) > 1
    assert (folder / "model.safetensors.index.json").exists()
    assert AutoModelForCausalLM.from_pretrained(folder).dtype == torch.bfloat16


def test_lora_changes_the_answer(llama_folder: Path, lora_folder: Path) -> None:
    from peft import PeftModel

    ids = torch.arange(10, 20)[None]
    plain = AutoModelForCausalLM.from_pretrained(llama_folder)(ids).logits
    adapted = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(llama_folder), lora_folder)
    assert not torch.allclose(plain, adapted(ids).logits)
