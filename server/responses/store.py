"""The responses that were kept, so that a conversation can go on with them: in memory, under a limit of bytes.

Each key sees its own alone. A response holds all items before it, so that none needs another one; those that were not
used for the longest time go first. Owned by the event loop. Knows nothing about what the items say.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from coe.errors import UnknownRequestError, shown

__all__ = ["Kept", "ResponseStore"]

OVERHEAD_BYTES = 1024  # of an entry, beside its texts


@dataclass(frozen=True, slots=True)
class Kept:
    """A response, and the items that it was the answer to, both as JSON."""

    body: bytes
    input_json: bytes

    @property
    def size_bytes(self) -> int:
        return len(self.body) + len(self.input_json) + OVERHEAD_BYTES

    @property
    def input_items(self) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = json.loads(self.input_json)
        return items

    @property
    def items(self) -> list[dict[str, Any]]:
        """The whole conversation: its input, and what it answered."""
        return [*self.input_items, *json.loads(self.body)["output"]]


class ResponseStore:
    """Responses by the key that asked and their id."""

    def __init__(self, budget_bytes: int) -> None:
        self._budget_bytes = budget_bytes
        self._kept: OrderedDict[tuple[str, str], Kept] = OrderedDict()  # the last one was used last
        self.used_bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, owner: str, body: Mapping[str, Any], items: Sequence[Mapping[str, Any]]) -> None:
        """Keep a response of `owner`'s and its input; forgets others where there is no room, or this one itself."""
        kept = Kept(json.dumps(body).encode(), json.dumps(items).encode())
        if kept.size_bytes > self._budget_bytes:
            return
        self._kept[owner, body["id"]] = kept
        self.used_bytes += kept.size_bytes
        while self.used_bytes > self._budget_bytes:
            _, oldest = self._kept.popitem(last=False)
            self.used_bytes -= oldest.size_bytes

    def find(self, owner: str, response_id: str, param: str | None = None) -> Kept:
        """Return a response of `owner`'s; raises UnknownRequestError."""
        try:
            self._kept.move_to_end((owner, response_id))
        except KeyError:
            raise self._unknown(response_id, param) from None
        return self._kept[owner, response_id]

    def delete(self, owner: str, response_id: str) -> None:
        """Forget a response of `owner`'s; raises UnknownRequestError."""
        if (kept := self._kept.pop((owner, response_id), None)) is None:
            raise self._unknown(response_id, None)
        self.used_bytes -= kept.size_bytes

    def _unknown(self, response_id: str, param: str | None) -> UnknownRequestError:
        return UnknownRequestError(
            f"no response {shown(response_id)} of yours is kept; the server keeps the last ones of its present run "
            f"({self._budget_bytes:,} bytes, [server] responses_bytes), and none with store = false: send the whole "
            "conversation as input",
            param=param,
        )
