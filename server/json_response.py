"""JSON answers of any text: lone surrogates, which UTF-8 cannot have, become question marks."""

from __future__ import annotations

import json
from typing import Any

from starlette.responses import Response

__all__ = ["JsonResponse"]


class JsonResponse(Response):
    """Starlette's JSONResponse, without its UnicodeEncodeError."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode(
            "utf-8", "replace"
        )
