"""What the fields ask for, and what turns them off."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from coe.types import Sampling
from server.openai.sampling_fields import SamplingFields


def test_nothing_asked_for_is_the_experts_own() -> None:
    assert SamplingFields().sampled(None, ()) == Sampling()


def test_fields_are_passed_on() -> None:
    asked = SamplingFields(temperature=0.5, top_k=-1, seed=-1, min_tokens=2, logit_bias={3: -100})
    expected = Sampling(
        7, 0.5, top_k=0, seed=(1 << 63) - 1, stop=("a",), min_tokens=2, logit_bias={3: -100}, num_logprobs=1
    )
    assert asked.sampled(7, ["a"], 1) == expected


@pytest.mark.parametrize(("name", "value"), [("temperature", 2.1), ("top_p", 0), ("top_k", -2), ("min_tokens", -1)])
def test_what_is_out_of_bounds_is_refused(name: str, value: float) -> None:
    with pytest.raises(ValidationError, match=name):
        SamplingFields.model_validate({name: value})
