"""Whatever is raised for one expert refuses that expert, in one line with its cause; only Ctrl-C passes."""

from __future__ import annotations

import pytest

from coe.errors import SourceError, WeightsError
from coe.sources.refusals import Refusals


class PanicError(BaseException):
    """As pyo3's PanicException, which a tokenizer written in Rust may raise."""


RAISED: list[BaseException] = [
    ZeroDivisionError("division by zero"),
    KeyError("model_type"),
    RecursionError("maximum recursion depth exceeded"),
    MemoryError(),
    PanicError("called `Option::unwrap()` on a `None` value"),
    SystemExit(3),
    OSError(13, "Permission denied", "/models/one/config.json"),
    ValueError("a\nlong\n" + "story " * 1000),
]


@pytest.mark.parametrize("raised", RAISED, ids=lambda raised: type(raised).__name__)
def test_any_exception_refuses_that_expert_in_one_line_with_its_cause(raised: BaseException) -> None:
    refusals = Refusals({"known": SourceError("known", "is gone")})
    with refusals.guard("odd", "imported"):
        raise raised
    with refusals.guard("good", "imported"):
        pass
    assert refusals.errors.keys() == {"known", "odd"}
    message = str(refusals.errors["odd"])
    assert message.startswith(f"expert 'odd': it cannot be imported: {type(raised).__name__}")
    assert "\n" not in message
    assert len(message) < 700


def test_an_experts_own_error_is_kept_as_it_is() -> None:
    error = WeightsError("odd", "model.safetensors is missing")
    refusals = Refusals()
    with refusals.guard("odd", "imported"):
        raise error
    assert refusals.errors == {"odd": error}


def test_an_interrupt_ends_the_start() -> None:
    refusals = Refusals()
    with pytest.raises(KeyboardInterrupt), refusals.guard("odd", "imported"):
        raise KeyboardInterrupt
    assert refusals.errors == {}
