"""What every encoder in front of another one has in common: it is known by the other's id, source and dimensions.

Owns nothing but the forwarding. Knows nothing about what the encoder in front does.
"""

from __future__ import annotations

from router.encoding.text_encoder import TextEncoder

__all__ = ["WrappedEncoder"]


class WrappedEncoder:
    """The encoder behind, by name; whoever derives from it says how texts are encoded."""

    def __init__(self, encoder: TextEncoder) -> None:
        self._encoder = encoder

    @property
    def id(self) -> str:
        return self._encoder.id

    @property
    def source(self) -> str:
        return self._encoder.source

    @property
    def num_dims(self) -> int:
        return self._encoder.num_dims
