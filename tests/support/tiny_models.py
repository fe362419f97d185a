"""Tiny random models, made on the spot: real folders in transformers' and PEFT's formats, a few hundred kB.

Every builder is deterministic by seed and writes config.json, generation_config.json, safetensors and a
byte-level BPE tokenizer with a ChatML template. Weights are large enough that greedy answers differ between
seeds and prompts. Knows nothing about coe.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

VOCABULARY = 512
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
LINES = """
The quick brown fox jumps over the lazy dog while the router sends each prompt to the expert that knows best.
A composition of experts is many whole models behind one endpoint, each of them good at something.
system user assistant: You are helpful. What is the capital of France? The capital of France is Paris.
SELECT name, count(*) FROM customers WHERE city = 'Paris' GROUP BY name ORDER BY count(*) DESC LIMIT 10;
def add(first: int, second: int) -> int: return first + second  # 1 2 3 4 5 6 7 8 9 0
Natalia sold 48 clips in April and half as many in May. How many did she sell altogether? 48 + 24 = 72.
Translate into German: Good morning, how are you today? Guten Morgen, wie geht es? Müller, Straße, schön.
The patient has a fever and a cough; the doctor recommends rest, water and a second visit within the week.
Once upon a time there was a little house by the sea, and in it there lived an old man who wrote letters.
""".strip().splitlines()


def tiny_llama(folder: Path, seed: int = 0, **options: Any) -> Path:
    """Write a Llama-shaped model; options as in `tiny_model`."""
    return tiny_model("llama", folder, seed, head_dim=16, **options)


def tiny_qwen2(folder: Path, seed: int = 0, **options: Any) -> Path:
    """Write a Qwen2 model: a Llama with q, k and v biases."""
    return tiny_model("qwen2", folder, seed, **options)


def tiny_qwen3(folder: Path, seed: int = 0, **options: Any) -> Path:
    """Write a Qwen3 model: a Llama with q and k norms."""
    return tiny_model("qwen3", folder, seed, head_dim=16, **options)


def tiny_mistral(folder: Path, seed: int = 0, **options: Any) -> Path:
    """Write a Mistral model without a sliding window."""
    return tiny_model("mistral", folder, seed, head_dim=16, **{"sliding_window": None, **options})


def tiny_gpt2(folder: Path, seed: int = 0, **options: Any) -> Path:
    """Write a GPT-2 model: another architecture, with learned positions and Conv1D layers."""
    return tiny_model("gpt2", folder, seed, **options)


def tiny_model(
    model_type: str,
    folder: Path,
    seed: int = 0,
    *,
    tied: bool = True,
    dtype: str = "float32",
    sharded: bool = False,
    num_layers: int = 3,
    **config: Any,
) -> Path:
    """Write a random causal LM of one of transformers' decoder architectures into `folder` and return it.

    `dtype` is the stored one (float32, bfloat16, float16), `sharded` splits the weights over several files,
    `config` overrides any key of config.json.
    """
    shape = _gpt2_shape(num_layers) if model_type == "gpt2" else _llama_shape(num_layers)
    ids = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    settings = CONFIG_MAPPING[model_type](**{**shape, **ids, "tie_word_embeddings": tied, **config})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(settings).eval()
        _randomise(model)
    model.to(getattr(torch, dtype)).save_pretrained(folder, max_shard_size="100KB" if sharded else "1GB")
    tiny_tokenizer().save_pretrained(folder)
    return folder


def tiny_lora(
    folder: Path,
    base: Path,
    seed: int = 0,
    *,
    rank: int = 4,
    alpha: int = 8,
    target_modules: tuple[str, ...] = (
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
        "gate_proj",
        "up_proj",
        "down_proj",
    ),
    **options: Any,
) -> Path:
    """Write a PEFT adapter of `base` whose B matrices are not zero; `options` go to `peft.LoraConfig`."""
    from peft import LoraConfig, get_peft_model

    settings = LoraConfig(
        r=rank, lora_alpha=alpha, target_modules=list(target_modules), task_type="CAUSAL_LM", **options
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), settings)
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                torch.nn.init.normal_(parameter, std=0.1)
    model.save_pretrained(folder)
    return folder


@cache
def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """Return a byte-level BPE tokenizer with ChatML's specials; `<|im_end|>` ends a turn."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=SPECIALS, initial_alphabet=alphabet, show_progress=False
    )
    bpe.train_from_iterator(LINES, trainer)
    end, start, stop = SPECIALS
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token=start,
        eos_token=stop,
        pad_token=end,
        unk_token=end,
        model_max_length=512,
        chat_template=CHAT_TEMPLATE,
    )


def _llama_shape(num_layers: int) -> dict[str, Any]:
    return {
        "vocab_size": VOCABULARY,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": num_layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
    }


def _gpt2_shape(num_layers: int) -> dict[str, Any]:
    return {"vocab_size": VOCABULARY, "n_embd": 64, "n_layer": num_layers, "n_head": 4, "n_positions": 512}


def _randomise(model: PreTrainedModel) -> None:
    """Give every parameter bytes of its own: matrices wide, norms near one, biases away from zero."""
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.2)
        else:
            torch.nn.init.normal_(parameter, mean=0.0 if name.endswith("bias") else 1.0, std=0.1)
