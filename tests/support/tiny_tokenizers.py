"""Tiny tokenizers of other kinds than tiny_models' byte-level BPE, and a model's folder with one of them.

SentencePiece's as Llama 2 has it (BPE with byte fallback, a visible blank, one stripped at the beginning) and as T5's
heirs have it (Unigram with byte fallback behind Metaspace). Knows nothing about coe.
"""

from __future__ import annotations

from pathlib import Path

from tiny_models import CHAT_TEMPLATE, LINES, SPECIALS, VOCABULARY, tiny_llama
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

BLANK = "▁"
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


def sentencepiece_bpe() -> Tokenizer:
    """Return BPE over letters of the tiny models' lines, with blanks as letters and bytes for all else."""
    letters = sorted({letter for line in LINES for letter in line.replace(" ", BLANK)} | {BLANK})
    merges = [(BLANK, letter) for letter in "abcdefgst"] + [("e", "r"), ("i", "n"), ("t", "h"), ('"', ":"), ("}", "\n")]
    words = ["<unk>", *BYTES, *letters, *('"', "{", "}", "[", "]", "\n")]
    pieces = dict.fromkeys([*words, *(first + second for first, second in merges)])
    vocabulary = {piece: at for at, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(BLANK), normalizers.Replace(" ", BLANK)])
    steps = [decoders.Replace(BLANK, " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    tokenizer.decoder = decoders.Sequence(steps)
    return tokenizer


def unigram() -> Tokenizer:
    """Return Unigram over the words and letters of the tiny models' lines."""
    words = sorted({BLANK + word for line in LINES for word in line.split() if word.isalpha()})[:80]
    letters = sorted({letter for line in LINES for letter in line.replace(" ", BLANK)} | set('{}[]":') | {BLANK})
    pieces = [("<unk>", 0.0), *((piece, -9.0) for piece in BYTES), *((piece, -4.0) for piece in letters)]
    pieces += [(piece, -3.0) for piece in words if len(piece) > 2]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0, byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()])
    return tokenizer


def tiny_llama_with(tokenizer: Tokenizer, folder: Path, seed: int = 0) -> Path:
    """Write a tiny Llama with this tokenizer and ChatML's specials, `<|im_end|>` at the end of a turn."""
    tokenizer.add_special_tokens([AddedToken(special, normalized=False) for special in SPECIALS])
    end, start, stop = SPECIALS
    written = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=start,
        eos_token=stop,
        pad_token=end,
        unk_token="<unk>",
        model_max_length=512,
        chat_template=CHAT_TEMPLATE,
    )
    assert len(written) <= VOCABULARY
    tiny_llama(folder, seed, eos_token_id=written.eos_token_id, bos_token_id=written.bos_token_id)
    written.save_pretrained(folder)
    return folder
