"""Chat templates as published models have them, shortened where that changes no kind of thing that they do, and
tokenizers of the kinds that they meet.

Knows nothing about coe.
"""

from __future__ import annotations

import json
from functools import cache

from tiny_models import LINES, tiny_tokenizer
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

TEMPLATES = {
    "chatml": (
        "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
        "{{ '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n' }}{% endif %}"
        "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    ),
    "llama-2": (
        "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}"
        "{% set system_message = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}"
        "{% set system_message = false %}{% endif %}{% for message in loop_messages %}"
        "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
        "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
        "{% if loop.index0 == 0 and system_message != false %}"
        "{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}"
        "{% else %}{% set content = message['content'] %}{% endif %}{% if message['role'] == 'user' %}"
        "{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}{% elif message['role'] == 'assistant' %}"
        "{{ ' ' + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
    ),
    "llama-3": (
        "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + "
        "message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' %}"
        "{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
    ),
    "gemma": (
        "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}"
        "{% endif %}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
        "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
        "{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}"
        "{% endif %}{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{'<start_of_turn>model\n'}}{% endif %}"
    ),
    "phi-3": (
        "{% for message in messages %}{{'<|' + message['role'] + '|>\n' + message['content'] + '<|end|>\n' }}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}"
    ),
    "qwen-3": (
        "{%- if messages[0].role == 'system' %}\n    {{- '<|im_start|>system\\n' + messages[0].content + "
        "'<|im_end|>\\n' }}\n{%- endif %}\n{%- set ns = namespace(multi_step_tool=true, last_query_index="
        "messages|length - 1) %}\n{%- for message in messages[::-1] %}\n    {%- set index = (messages|length - 1) - "
        'loop.index0 %}\n    {%- if ns.multi_step_tool and message.role == "user" %}\n        {%- set '
        "ns.multi_step_tool = false %}\n        {%- set ns.last_query_index = index %}\n    {%- endif %}\n"
        "{%- endfor %}\n{%- for message in messages %}\n    {%- if message.content is string %}\n        "
        "{%- set content = message.content %}\n    {%- else %}\n        {%- set content = '' %}\n    {%- endif %}\n"
        '    {%- if (message.role == "user") or (message.role == "system" and not loop.first) %}\n        '
        "{{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}\n    "
        "{%- elif message.role == \"assistant\" %}\n        {%- set reasoning_content = '' %}\n        "
        "{%- if '</think>' in content %}\n            {%- set reasoning_content = content.split('</think>')[0]"
        ".rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}\n            {%- set content = content.split("
        "'</think>')[-1].lstrip('\\n') %}\n        {%- endif %}\n        {%- if loop.index0 > ns.last_query_index %}\n"
        "            {{- '<|im_start|>' + message.role + '\\n<think>\\n' + reasoning_content.strip('\\n') + "
        "'\\n</think>\\n\\n' + content.lstrip('\\n') }}\n        {%- else %}\n            {{- '<|im_start|>' + "
        "message.role + '\\n' + content }}\n        {%- endif %}\n        {{- '<|im_end|>\\n' }}\n    {%- endif %}\n"
        "{%- endfor %}\n{%- if add_generation_prompt %}\n    {{- '<|im_start|>assistant\\n' }}\n{%- endif %}"
    ),
    "json": (
        "{%- for message in messages %}\n{{- message | tojson(indent=2) + '<|im_end|>' -}}\n{%- endfor %}"
        "{% generation %}{{ 'answer' }}{% endgeneration %}{% for i in [1, 2] %}{% if i == 2 %}{% break %}{% endif %}"
        "{{ i }}{% endfor %}"
    ),
    "ascii": "{% for message in messages %}{{ message | tojson(ensure_ascii=true) }}<|im_end|>{% endfor %}",
    "folding": (
        "{% for message in messages %}{{ message.role | upper }}: {{ message.content | lower }}<|im_end|>{% endfor %}"
    ),
}
SPECIALS = (
    *("<|im_start|>", "<|im_end|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<start_of_turn>"),
    *("<end_of_turn>", "<|user|>", "<|system|>", "<|assistant|>", "<|end|>"),
)
PLAIN_ADDED = ("<think>", "</think>", "<tool_call>")  # added, not special; the templates of Qwen write them
WORDS = ("mRNA", "\n\n\n")  # added, and text all the same


@cache
def byte_level() -> PreTrainedTokenizerFast:
    """Return a byte-level BPE tokenizer, as most have."""
    return _dressed(Tokenizer.from_str(tiny_tokenizer().backend_tokenizer.to_str()), "<|im_start|>", "<|im_end|>")


@cache
def sentencepiece() -> PreTrainedTokenizerFast:
    """Return a tokenizer in Llama 2's form: a blank before the text, no pre-tokenizer, bytes for what is unknown."""
    bpe = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    bpe.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    letters = {letter for line in LINES for letter in line if letter != " "}
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))],
        initial_alphabet=sorted(letters),
        show_progress=False,
    )
    pre = Tokenizer(models.BPE())
    pre.normalizer, pre.pre_tokenizer = bpe.normalizer, pre_tokenizers.Split(Regex("(?=▁)"), "isolated")
    pre.train_from_iterator(LINES, trainer)
    return _finished_sentencepiece(bpe, pre)


def _finished_sentencepiece(bpe: Tokenizer, trained: Tokenizer) -> PreTrainedTokenizerFast:
    model = json.loads(trained.to_str())["model"]
    bpe.model = models.BPE(
        vocab=model["vocab"],
        merges=[tuple(merge) for merge in model["merges"]],
        unk_token="<unk>",
        fuse_unk=True,
        byte_fallback=True,
    )
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    bpe.decoder = decoders.Sequence(steps)
    bpe.add_special_tokens([AddedToken(token, normalized=False) for token in ("<unk>", "<s>", "</s>")])
    bpe.post_processor = processors.TemplateProcessing("<s> $A", None, [("<s>", bpe.token_to_id("<s>"))])
    return _dressed(bpe, "<s>", "</s>")


@cache
def unigram() -> PreTrainedTokenizerFast:
    """Return a Unigram tokenizer in T5's form, whose model itself knows the control tokens `<s>` and `</s>`."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=300, special_tokens=["<unk>", "<s>", "</s>"], unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(LINES, trainer)
    return _dressed(tokenizer, "<s>", "</s>")


def _dressed(tokenizer: Tokenizer, bos: str, eos: str) -> PreTrainedTokenizerFast:
    tokenizer.add_special_tokens(list(SPECIALS))
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in (*PLAIN_ADDED, *WORDS)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=bos, eos_token=eos, model_max_length=4096)
