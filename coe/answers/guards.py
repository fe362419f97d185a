"""What an embedding overlooks: two prompts that are near may still ask for different things.

Owns the marks of a prompt that must agree, in their order ("from 3 to 5"): numbers, negations, what is quoted,
identifiers, names, signs. Covered: figures in any script and English number words; negations of the languages below;
names in scripts with capitals. Not covered: antonyms, other changed words, the order of other words, names where a
script has no capitals. Knows nothing about vectors.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from typing import NamedTuple

__all__ = ["Marks", "marks_of"]

_FIGURES = re.compile(r"\d+(?:[.,:/]\d+)*")
_NUMBER = re.compile(rf"{_FIGURES.pattern}|[^\W\d_]+")  # figures, or a word that may be a number's
_SIGNS = re.compile(r"[-+*/=<>^%|&~$€£¥\\(){}\[\]]")
_WORDS_OF_NUMBERS = """
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen
nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million billion
half third quarter first second once twice double triple
"""
_NUMBER_WORDS = frozenset(_WORDS_OF_NUMBERS.split())
# English, German, French, Spanish, Portuguese, Italian, Dutch, Polish, Russian, Turkish, Indonesian
_WORDS_OF_NEGATION = """
no not never none nobody nothing nor neither cannot without except unless non
nicht nichts kein keine keinen keinem keiner nie niemals ohne
ne pas jamais sans aucun aucune
sin nunca nada ningún ninguna
não sem nenhum nenhuma
mai senza nessun nessuno nessuna
niet geen nooit zonder
nie bez nigdy
не нет без никогда
değil yok hayır
tidak bukan tanpa
"""
_NEGATIONS = frozenset(_WORDS_OF_NEGATION.split())
_NEGATION_SIGNS = "不没沒无無未非勿否않없"  # Han and Hangul
_NEGATION_ENDINGS = ("ない", "ません", "なく")
_QUOTED = re.compile(r"\"([^\"]+)\"|“([^”]+)”|«([^»]+)»|„([^“”]+)[“”]|`([^`]+)`|(?<!\w)'([^']+)'(?!\w)|「([^」]+)」")
# letters joined with digits, underscores, dots, slashes or a change of case: names of code, files, addresses, products
_IDENTIFIER = re.compile(r"(?<!\w)(?=\S*(?:[a-z][A-Z]|\w[_./@:#-]\w|[^\W\d]\d|\d[^\W\d]))[\w][\w./@:#-]*[\w](?!\w)")
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_SENTENCE_START = re.compile(r"(?:^|[.!?:;\n\"“«(]\s*)$")


class Marks(NamedTuple):
    """What a prompt names exactly, each kind in the order of the text; `signs` are those of formulas and code."""

    numbers: tuple[str, ...]
    num_negations: int
    quoted: tuple[str, ...]
    identifiers: tuple[str, ...]
    names: tuple[str, ...]
    signs: str


def marks_of(text: str) -> Marks:
    """Return the marks of a prompt; two prompts whose marks differ ask for different things."""
    text = unicodedata.normalize("NFKC", text)
    words = [match.group().casefold().replace("’", "'") for match in _WORD.finditer(text)]
    quoted = ("".join(filter(None, match.groups())) for match in _QUOTED.finditer(text))
    return Marks(
        tuple(match.group().casefold() for match in _NUMBER.finditer(text) if _is_number(match.group().casefold())),
        _num_negations(text, words),
        tuple(" ".join(each.split()) for each in quoted),
        tuple(each for each in _IDENTIFIER.findall(text) if not _FIGURES.fullmatch(each)),
        _names(text),
        "".join(_SIGNS.findall(text)),
    )


def _is_number(word: str) -> bool:
    return word in _NUMBER_WORDS or word[0].isdecimal()


def _num_negations(text: str, words: list[str]) -> int:
    signs = Counter(text)
    written = sum(word in _NEGATIONS or word.endswith("n't") for word in words)
    return written + sum(signs[sign] for sign in _NEGATION_SIGNS) + sum(map(text.count, _NEGATION_ENDINGS))


def _names(text: str) -> tuple[str, ...]:
    """Return capitalised words that do not begin a sentence, in lower case."""
    found = []
    for match in _WORD.finditer(text):
        word = match.group()
        begins = _SENTENCE_START.search(text, max(0, match.start() - 3), match.start()) or match.start() == 0
        if (
            word[0].isupper()
            and not (begins and not word.isupper())
            and word != "I"
            and not word.startswith(("I'", "I’"))
        ):
            found.append(word.casefold())
    return tuple(found)
