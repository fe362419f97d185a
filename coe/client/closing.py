"""What a `with` block closes at its end, plain and awaited."""

from __future__ import annotations

from types import TracebackType
from typing import Self

__all__ = ["Closes", "ClosesAwaited"]


class Closes:
    """Closed by `close`, at the latest at the end of its `with` block."""

    def close(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class ClosesAwaited:
    """`Closes`, awaited."""

    async def close(self) -> None:
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
