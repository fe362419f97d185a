"""Processors and filters against transformers' own, on random logits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import (
    LogitsProcessorList,
    MinNewTokensLengthLogitsProcessor,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    SequenceBiasLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from coe.engine.logits_processor import (
    OccurrencePenalty,
    forbidden,
    masked,
    processors_of,
)
from coe.engine.sampling import Sampler, Waiting, filtered, logprobs_of, sample
from coe.types import Sampling

VOCABULARY = 3000  # more than the candidates that top-p looks at first
PROMPT_IDS = (5, 7, 7, 2999)
EOS_IDS = frozenset({2, 3})


def logits_of(seed: int, spread: float = 3.0) -> torch.Tensor:
    return torch.randn(VOCABULARY, generator=torch.Generator().manual_seed(seed)) * spread


def processed(sampling: Sampling, logits: torch.Tensor, output_ids: list[int]) -> torch.Tensor:
    for processor in processors_of(sampling, PROMPT_IDS, EOS_IDS):
        logits = processor(logits, output_ids)
    return logits


def test_nothing_asked_means_no_processor() -> None:
    neutral = Sampling(repetition_penalty=1.0, presence_penalty=0.0, frequency_penalty=0.0)
    assert processors_of(neutral, PROMPT_IDS, EOS_IDS) == ()
    assert processors_of(Sampling(min_tokens=3, ignore_eos=True), PROMPT_IDS, EOS_IDS) == ()


@pytest.mark.parametrize("penalty", [0.7, 1.3, 2.0])
def test_repetition_penalty_is_transformers_step_after_step(penalty: float) -> None:
    (ours,) = processors_of(Sampling(repetition_penalty=penalty), PROMPT_IDS, EOS_IDS)
    theirs, output_ids = RepetitionPenaltyLogitsProcessor(penalty), []
    for step in range(6):
        logits = logits_of(step)
        ids = torch.tensor([[*PROMPT_IDS, *output_ids]])
        assert torch.equal(ours(logits, output_ids), theirs(ids, logits[None].clone())[0])
        output_ids.append(11 + step % 2)


def test_min_tokens_and_bias_are_transformers() -> None:
    logits, output_ids = logits_of(0), [9, 9]
    ids = torch.tensor([[*PROMPT_IDS, *output_ids]])
    theirs = LogitsProcessorList(
        [
            SequenceBiasLogitsProcessor([[[4], 1.5], [[5], -100.0]]),
            RepetitionPenaltyLogitsProcessor(1.2),
            MinNewTokensLengthLogitsProcessor(len(PROMPT_IDS), 3, torch.tensor(sorted(EOS_IDS))),
        ]
    )
    ours = processed(Sampling(logit_bias={4: 1.5, 5: -100.0}, repetition_penalty=1.2, min_tokens=3), logits, output_ids)
    assert torch.equal(ours, theirs(ids, logits[None].clone())[0])
    assert torch.isneginf(ours[list(EOS_IDS)]).all()
    enough = processed(Sampling(min_tokens=3), logits, [9, 9, 9])
    assert torch.equal(enough, logits)


def test_presence_and_frequency_follow_openais_formula_and_count_the_output_only() -> None:
    penalty, logits = OccurrencePenalty(presence=0.5, frequency=0.25), logits_of(1)
    assert torch.equal(penalty(logits, []), logits)
    expected = logits.clone()
    expected[8] -= 0.5 + 3 * 0.25
    expected[6] -= 0.5 + 0.25
    penalty(logits, [8])  # steps come one by one; none is counted twice
    assert torch.allclose(penalty(logits, [8, 8, 6, 8]), expected)


@pytest.mark.parametrize("spread", [0.05, 3.0])  # nearly flat: top-p needs more than the first candidates
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"top_k": 7},
        {"top_p": 0.8},
        {"min_p": 0.1},
        {"top_k": 1200, "top_p": 0.9},
        {"top_k": 40, "top_p": 0.5, "min_p": 0.05},
        {"top_k": 99999, "top_p": 0.999},
    ],
)
def test_filters_keep_what_transformers_keeps(settings: dict[str, float], spread: float) -> None:
    logits = torch.stack([logits_of(seed, spread) for seed in range(3)])
    warpers = LogitsProcessorList([TemperatureLogitsWarper(0.7)])
    if "top_k" in settings:
        warpers.append(TopKLogitsWarper(int(settings["top_k"])))
    if "top_p" in settings:
        warpers.append(TopPLogitsWarper(settings["top_p"]))
    if "min_p" in settings:
        warpers.append(MinPLogitsWarper(settings["min_p"]))
    theirs = torch.softmax(warpers(torch.zeros(3, 1, dtype=torch.long), logits.clone()), dim=-1)
    sampler = Sampler(Sampling(temperature=0.7, **settings))  # type: ignore[arg-type]
    kept = filtered(torch.softmax(logits / 0.7, dim=-1), [sampler] * 3)
    # transformers sums from the unlikely end, so a token on the very edge of top-p may fall either way
    assert ((kept > 0) != (theirs > 0)).sum() <= (3 if "top_p" in settings else 0)
    assert torch.allclose(kept / kept.sum(dim=-1, keepdim=True), theirs, atol=2e-3 if "top_p" in settings else 1e-6)


def test_rows_of_a_batch_do_not_touch_each_other() -> None:
    """Different settings in one batch, greedy and drawn, with and without processors: the same tokens as alone."""
    asked = [
        Sampling(temperature=0.0),
        Sampling(temperature=1.0, seed=1),
        Sampling(temperature=1.3, top_p=0.9, seed=2),
        Sampling(temperature=0.8, top_k=20, min_p=0.02, seed=3, num_logprobs=4),
        Sampling(temperature=1.0, repetition_penalty=1.5, seed=4),
        Sampling(temperature=0.0, logit_bias={17: 100.0}, num_logprobs=0),
    ]
    logits = torch.stack([logits_of(10 + row) for row in range(len(asked))])

    def samplers() -> list[Sampler]:
        return [Sampler(each, processors_of(each, PROMPT_IDS, EOS_IDS)) for each in asked]

    before = logits.clone()
    together = sample(logits, [Waiting(sampler, ()) for sampler in samplers()])
    alone = [sample(logits[row : row + 1], [Waiting(one, ())])[0] for row, one in enumerate(samplers())]
    assert together == alone
    assert together[5].token_id == 17
    assert torch.equal(logits, before)


def test_choices_of_one_seed_have_streams_of_their_own() -> None:
    sampling = Sampling(seed=7)
    first, again, other = (Sampler(sampling, choice=choice) for choice in (0, 0, 1))
    draws = first.exponentials(5).tolist()
    assert draws == again.exponentials(5).tolist()
    assert draws != other.exponentials(5).tolist()
    assert draws != Sampler(Sampling(seed=7 + 2**32)).exponentials(5).tolist()


def test_draws_follow_the_distribution_over_many_blocks() -> None:
    probabilities = torch.zeros(VOCABULARY)
    wanted = {3: 0.4, 4: 0.1, 700: 0.3, 701: 0.05, 2999: 0.15}
    probabilities[list(wanted)] = torch.tensor(list(wanted.values()))
    rows, sampler = probabilities.log().expand(4000, -1), Sampler(Sampling(seed=1))
    draws = torch.tensor([one.token_id for one in sample(rows, [Waiting(sampler, ())] * 4000)])
    found = torch.bincount(draws, minlength=VOCABULARY) / 4000
    assert torch.allclose(found, probabilities, atol=0.03)
    assert found.count_nonzero() == len(wanted)


def test_a_last_bit_of_the_logits_turns_next_to_no_draw() -> None:
    """Inverting the cumulative distribution changed 6 of these draws: its tail has an edge at every token."""
    logits = logits_of(0).expand(4000, -1)
    noise = torch.randn(logits.shape, generator=torch.Generator().manual_seed(1)) * 1e-5
    drawn = [
        [one.token_id for one in sample(rows, [Waiting(Sampler(Sampling(seed=seed)), ()) for seed in range(4000)])]
        for rows in (logits, logits + noise)
    ]
    assert sum(one != other for one, other in zip(*drawn, strict=True)) <= 1


def test_logprobs_are_the_models_own_whatever_was_processed() -> None:
    logits = logits_of(0)[None]
    settings = Sampling(temperature=0.0, logit_bias={17: 100.0}, num_logprobs=2)
    (chosen,) = sample(logits, [Waiting(Sampler(settings, processors_of(settings, (), ())), ())])
    expected = torch.log_softmax(logits[0], dim=-1)
    assert chosen.logprob is not None
    assert chosen.logprob.logprob == pytest.approx(float(expected[17]), abs=1e-5)
    values, ids = expected.topk(2)
    assert [token_id for token_id, _ in chosen.logprob.top] == ids.tolist()
    assert [value for _, value in chosen.logprob.top] == pytest.approx(values.tolist(), abs=1e-5)
    assert logprobs_of(logits[:0], [], 3) == []


def test_logits_that_are_no_numbers_give_no_token() -> None:
    """A broken model must not end the engine thread, where an id beyond the vocabulary would, nor choose a token."""
    broken = torch.full((2, VOCABULARY), float("nan"))
    for settings in (Sampling(), Sampling(top_p=0.5), Sampling(temperature=0.0), Sampling(num_logprobs=2)):
        assert sample(broken, [Waiting(Sampler(settings), ())] * 2) == [None, None]


def test_an_end_token_beyond_the_vocabulary_forbids_nothing() -> None:
    """A config.json may name one; it ended every running answer of the expert, with min_tokens."""
    logits = torch.zeros(1, VOCABULARY)
    logits[0, 7] = 1.0
    settings = Sampling(temperature=0.0, min_tokens=5)
    (chosen,) = sample(logits, [Waiting(Sampler(settings, processors_of(settings, (), {VOCABULARY + 9})), ())])
    assert chosen is not None
    assert chosen.token_id == 7


def test_masks_forbid_what_they_do_not_name_in_their_rows_alone() -> None:
    """A mask that is shorter than the vocabulary forbids the rest, and one that is longer names nothing more."""
    logits = torch.stack([logits_of(seed) for seed in range(4)])
    before, allowed = logits.clone(), [{0, 31, 32, 2999}, {5}, {64, 95}]
    sizes = [94, 100, 3]
    masks = {row: np.zeros(size, dtype=np.uint32) for row, size in zip((0, 1, 3), sizes, strict=True)}
    for mask, ids in zip(masks.values(), allowed, strict=True):
        for token_id in ids:
            mask[token_id // 32] |= np.uint32(1 << token_id % 32)
    found = masked(logits, {row: mask.view(np.int32) for row, mask in masks.items()})
    assert torch.equal(logits, before)
    assert torch.equal(found[2], logits[2])
    for row, ids in zip((0, 1, 3), allowed, strict=True):
        kept = set(found[row].isfinite().nonzero()[:, 0].tolist())
        assert kept == ids
        assert torch.equal(found[row, sorted(ids)], logits[row, sorted(ids)])


def test_masks_are_unpacked_on_a_device_as_they_are_on_the_host() -> None:
    words = np.random.default_rng(0).integers(-(2**31), 2**31, (3, 94), dtype=np.int32)
    for vocab in (VOCABULARY, 94 * 32, 2977):
        logits = torch.randn(3, vocab)
        on_host = masked(logits, dict(enumerate(words)))
        assert torch.equal(logits.masked_fill(forbidden(torch.from_numpy(words), vocab), -torch.inf), on_host)
