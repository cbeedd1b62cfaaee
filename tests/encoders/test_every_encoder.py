"""Every kind of encoder keeps the same promises."""

from copy import deepcopy
from itertools import chain, combinations
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from encoders import CONTEXT_FIELDS, Context, ContextEncoder, kl_to_unit_gaussian
from tests.support.encoder_tester import (
    ACTION_DIM,
    KINDS,
    KINDS_OVER_TIME,
    LATENT_DIM,
    MIN_STDDEV,
    OBSERVATION_DIM,
    ORDER_FREE_KINDS,
    STOCHASTIC_KINDS,
    assert_close,
    assert_identical,
    at_steps,
    at_tasks,
    build_encoder,
    filled_where_masked,
    fold,
    gradients,
    posterior_after,
    random_context,
    random_mask,
)

WIDTHS = {"observation": OBSERVATION_DIM, "action": ACTION_DIM, "reward": 1, "next_observation": OBSERVATION_DIM}
SUBSETS = list(chain.from_iterable(combinations(CONTEXT_FIELDS, size) for size in range(1, len(CONTEXT_FIELDS) + 1)))
GARBAGE = [float("nan"), float("inf"), float("-inf"), 3e38]
few_examples = settings(max_examples=15, derandomize=True, database=None)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def encoder(kind: str) -> ContextEncoder[Any]:
    return build_encoder(kind)


def test_the_posterior_has_one_float_row_per_task(encoder: ContextEncoder[Any]) -> None:
    for belief in (encoder.prior(3), encoder.encode(random_context(3, 7))):
        posterior = encoder.posterior(belief)
        assert posterior.mean.shape == posterior.stddev.shape == (3, LATENT_DIM)
        assert posterior.mean.dtype == posterior.stddev.dtype == torch.float32
        assert all(values.shape[0] == 3 for values in belief)


def test_the_priors_posterior_is_the_unit_gaussian(encoder: ContextEncoder[Any]) -> None:
    posterior = encoder.posterior(encoder.prior(3))
    assert torch.equal(posterior.mean, torch.zeros(3, LATENT_DIM))
    assert torch.equal(posterior.stddev, torch.full((3, LATENT_DIM), 1.0 if encoder.stochastic else 0.0))


def test_a_context_moves_the_posterior_of_every_task(encoder: ContextEncoder[Any]) -> None:
    prior, posterior = encoder.posterior(encoder.prior(3)), posterior_after(encoder, random_context(3, 7))
    assert ((posterior.mean - prior.mean).abs().amax(1) > 1e-3).all()
    assert not encoder.stochastic or ((posterior.stddev - prior.stddev).abs().amax(1) > 1e-3).all()


def test_encoding_a_context_equals_folding_it_step_by_step(encoder: ContextEncoder[Any]) -> None:
    context = random_context(3, 40)._replace(mask=random_mask(3, 40))
    assert_close(encoder.posterior(fold(encoder, context, [1] * 40)), posterior_after(encoder, context))


@pytest.mark.parametrize("kind", KINDS)
@few_examples
@given(lengths=st.lists(st.integers(0, 6), min_size=1, max_size=6), seed=st.integers(0, 2**16))
def test_encoding_a_context_equals_folding_it_in_chunks(kind: str, lengths: list[int], seed: int) -> None:
    encoder, steps = build_encoder(kind), sum(lengths)
    context = random_context(2, steps, seed=seed)._replace(mask=random_mask(2, steps, seed=seed))
    assert_close(encoder.posterior(fold(encoder, context, lengths)), posterior_after(encoder, context))


@pytest.mark.parametrize("kind", ORDER_FREE_KINDS)
@few_examples
@given(order=st.permutations(range(9)), seed=st.integers(0, 2**16))
def test_the_order_of_transitions_does_not_matter_to_kinds_that_pool_them(
    kind: str, order: list[int], seed: int
) -> None:
    encoder = build_encoder(kind)
    context = random_context(2, 9, seed=seed)._replace(mask=random_mask(2, 9, seed=seed))
    shuffled = at_steps(context, torch.tensor(order))
    assert_close(posterior_after(encoder, shuffled), posterior_after(encoder, context))


@pytest.mark.parametrize("kind", KINDS_OVER_TIME)
def test_the_order_of_transitions_matters_to_kinds_that_read_them_in_time(kind: str) -> None:
    encoder = build_encoder(kind, context_fields=("observation", "action", "reward"))
    context = random_context(3, 9)
    before = posterior_after(encoder, context)
    for first, second in ((7, 8), (0, 1)):
        order = torch.arange(9)
        order[first], order[second] = second, first
        after = posterior_after(encoder, at_steps(context, order))
        assert ((after.mean - before.mean).abs().amax(1) > 5e-4).all()


@pytest.mark.parametrize("kind", KINDS)
@few_examples
@given(mask=st.lists(st.booleans(), min_size=6, max_size=6), garbage=st.sampled_from(GARBAGE))
def test_masked_steps_contribute_nothing_whatever_they_hold(kind: str, mask: list[bool], garbage: float) -> None:
    encoder = build_encoder(kind)
    masked = random_context(2, 6)._replace(mask=torch.tensor([mask, mask]))
    belief = encoder.encode(filled_where_masked(masked, garbage))
    assert_identical(belief, encoder.encode(masked))
    without = at_steps(masked, torch.tensor(mask).nonzero().squeeze(1))
    assert_close(encoder.posterior(belief), posterior_after(encoder, without))


@pytest.mark.parametrize("garbage", GARBAGE)
def test_masked_garbage_leaves_the_gradients_alone(encoder: ContextEncoder[Any], garbage: float) -> None:
    context = random_context(2, 6)._replace(mask=random_mask(2, 6))
    found = gradients(encoder, filled_where_masked(context, garbage))
    assert all(gradient.isfinite().all() for gradient in found)
    assert_identical(found, gradients(encoder, context))


def test_an_all_masked_context_leaves_the_belief_unchanged(encoder: ContextEncoder[Any]) -> None:
    belief = encoder.encode(random_context(2, 5))
    padding = random_context(2, 4, seed=1)._replace(mask=torch.zeros(2, 4, dtype=torch.bool))
    for nothing in (padding, filled_where_masked(padding, float("nan")), at_steps(padding, slice(0, 0))):
        assert_identical(encoder.update(belief, nothing), belief)


def test_a_fully_masked_task_beside_others_keeps_the_prior_and_finite_gradients(encoder: ContextEncoder[Any]) -> None:
    context = random_context(3, 5)
    context.mask[1] = False
    posterior, prior = posterior_after(encoder, context), encoder.posterior(encoder.prior(3))
    assert torch.equal(posterior.mean[1], prior.mean[1])
    assert torch.equal(posterior.stddev[1], prior.stddev[1])
    assert all(gradient.isfinite().all() for gradient in gradients(encoder, context))


def test_a_tasks_context_does_not_reach_another_tasks_belief(encoder: ContextEncoder[Any]) -> None:
    context = random_context(3, 6)
    other = Context(*(values.clone() for values in context))
    for values, replacement in zip(other, random_context(3, 6, seed=9, scale=50.0), strict=True):
        values[1] = replacement[1]
    before, after = encoder.encode(context), encoder.encode(other)
    kept = torch.tensor([0, 2])
    assert_identical([values[kept] for values in after], [values[kept] for values in before])
    assert not torch.equal(encoder.posterior(after).mean[1], encoder.posterior(before).mean[1])


def test_tasks_encoded_together_equal_tasks_encoded_alone(encoder: ContextEncoder[Any]) -> None:
    context = random_context(3, 6)._replace(mask=random_mask(3, 6))
    together = posterior_after(encoder, context)
    for task in range(3):
        alone = posterior_after(encoder, at_tasks(context, slice(task, task + 1)))
        torch.testing.assert_close(alone.mean[0], together.mean[task])
        torch.testing.assert_close(alone.stddev[0], together.stddev[task])


def test_two_interleaved_trials_do_not_meet_in_the_encoder(encoder: ContextEncoder[Any]) -> None:
    state = deepcopy(encoder.state_dict())
    first, second = random_context(2, 8, seed=1), random_context(2, 8, seed=2)
    interleaved = [encoder.prior(2), encoder.prior(2)]
    for step in range(8):
        for trial, context in enumerate((first, second)):
            interleaved[trial] = encoder.update(interleaved[trial], at_steps(context, slice(step, step + 1)))
    assert_identical(interleaved[0], fold(encoder, first, [1] * 8))
    assert_identical(interleaved[1], fold(encoder, second, [1] * 8))
    assert_identical(list(encoder.state_dict().values()), list(state.values()))


def test_updating_changes_neither_the_belief_nor_the_context_given(encoder: ContextEncoder[Any]) -> None:
    belief, context = encoder.encode(random_context(2, 5)), random_context(2, 3, seed=1)
    before = [values.detach().clone() for values in (*belief, *context)]
    encoder.posterior(encoder.update(belief, context))
    assert_identical([*belief, *context], before)


@pytest.mark.parametrize("kind", ORDER_FREE_KINDS)
def test_beyond_the_limit_more_evidence_counts_but_together_weighs_no_more(kind: str) -> None:
    encoder, context = build_encoder(kind), random_context(2, 6)
    encoder.evidence_limit = 6
    once = encoder.encode(context)
    ten_times = once
    for _ in range(9):
        ten_times = encoder.update(ten_times, context)
    assert_close(encoder.posterior(ten_times), encoder.posterior(once))


@pytest.mark.parametrize("kind", ["linear_gaussian", "product_of_gaussians", "pooled_features"])
def test_without_a_limit_the_same_evidence_again_changes_the_posterior(kind: str) -> None:
    encoder, context = build_encoder(kind), random_context(2, 6)
    once = encoder.encode(context)
    again = encoder.posterior(encoder.update(once, context))
    assert not torch.allclose(again.stddev, encoder.posterior(once).stddev, rtol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_up_to_the_limit_a_posterior_is_the_same_to_the_last_bit(kind: str) -> None:
    encoder, context = build_encoder(kind), random_context(3, 8)
    free = encoder.posterior(encoder.encode(context))
    encoder.evidence_limit = 8
    bounded = encoder.posterior(encoder.encode(context))
    assert torch.equal(free.mean, bounded.mean)
    assert torch.equal(free.stddev, bounded.stddev)


def test_a_belief_does_not_grow_with_the_context(encoder: ContextEncoder[Any]) -> None:
    sizes = [[values.shape for values in encoder.encode(random_context(2, steps))] for steps in (0, 1, 500)]
    assert sizes[0] == sizes[1] == sizes[2]


@pytest.mark.parametrize(
    ("steps", "scale", "repeated"),
    [(100_000, 1.0, False), (100_000, 1e3, True), (1_000, 1e3, False), (1, 1e6, False), (10, 1e10, False)],
)
def test_long_contexts_and_huge_inputs_give_a_sound_posterior(
    encoder: ContextEncoder[Any], kind: str, steps: int, scale: float, repeated: bool
) -> None:
    if kind == "gru":  # It takes one step after another, a second for so many.
        steps = min(steps, 10_000)
    context = random_context(2, steps, scale=scale)
    if repeated:
        context = Context(*(values[:, :1].expand_as(values) for values in context))
    posterior = posterior_after(encoder, context)
    assert posterior.mean.isfinite().all()
    if encoder.stochastic:
        assert posterior.stddev.isfinite().all()
        assert (posterior.stddev >= MIN_STDDEV * 0.9999).all()
        assert kl_to_unit_gaussian(posterior).isfinite()
    else:
        assert torch.equal(posterior.stddev, torch.zeros_like(posterior.mean))
    short = at_steps(context, slice(0, 1000))
    assert all(gradient.isfinite().all() for gradient in gradients(encoder, short))


@pytest.mark.parametrize("min_stddev", [1e-4, 0.2])
@pytest.mark.parametrize("kind", STOCHASTIC_KINDS)
def test_no_amount_of_evidence_takes_the_stddev_under_its_floor(kind: str, min_stddev: float) -> None:
    encoder = build_encoder(kind, min_stddev=min_stddev)
    stddev = posterior_after(encoder, random_context(2, 5_000, scale=30.0)).stddev
    assert (stddev >= min_stddev * 0.9999).all()


@pytest.mark.parametrize("fields", SUBSETS, ids="+".join)
def test_the_input_is_as_wide_as_the_fields_listed(kind: str, fields: tuple[str, ...]) -> None:
    encoder = build_encoder(kind, context_fields=fields)
    assert encoder.input_dim == sum(WIDTHS[field] for field in fields)
    assert encoder.inputs(random_context(2, 5)).shape == (2, 5, encoder.input_dim)
    assert posterior_after(encoder, random_context(2, 5)).mean.shape == (2, LATENT_DIM)


@pytest.mark.parametrize("fields", SUBSETS, ids="+".join)
def test_only_the_fields_listed_matter(kind: str, fields: tuple[str, ...]) -> None:
    encoder = build_encoder(kind, context_fields=fields)
    context, other = random_context(2, 5), random_context(2, 5, seed=1)
    before = encoder.encode(context)
    for field in CONTEXT_FIELDS:
        after = encoder.encode(context._replace(**{field: getattr(other, field)}))
        same = all(torch.equal(left, right) for left, right in zip(after, before, strict=True))
        assert same == (field not in fields)


REFUSED_FIELDS: dict[tuple[str, ...], str] = {
    (): r"encoder\.context_fields must be one or more parts of a transition, each once, got \(\)",
    ("reward", "reward"): r"encoder\.context_fields must be .* each once, got \('reward', 'reward'\)",
    ("observation", "rewards"): r"encoder\.context_fields\[1\] must be one of .*, got 'rewards'. Did you mean 'reward'",
    ("mask",): r"encoder\.context_fields\[0\] must be one of .*, got 'mask'",
}


@pytest.mark.parametrize(("fields", "message"), REFUSED_FIELDS.items())
def test_empty_repeated_and_unknown_context_fields_are_refused(
    kind: str, fields: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        build_encoder(kind, context_fields=fields)
    with pytest.raises(ValueError, match=r"^context_fields must be one or more different fields of"):
        type(build_encoder(kind))(3, 2, 2, fields)


def test_the_means_gradient_reaches_every_parameter(encoder: ContextEncoder[Any]) -> None:
    assert all(gradient.abs().max() > 0 for gradient in gradients(encoder, random_context(4, 20), of="mean"))


@pytest.mark.parametrize("kind", STOCHASTIC_KINDS)
def test_the_stddevs_gradient_reaches_every_parameter(kind: str) -> None:
    found = gradients(build_encoder(kind), random_context(4, 20), of="stddev")
    assert all(gradient.abs().max() > 0 for gradient in found)


def test_a_loaded_state_gives_the_same_posterior(encoder: ContextEncoder[Any], kind: str) -> None:
    context, other = random_context(2, 5), build_encoder(kind, seed=1)
    assert not torch.equal(posterior_after(other, context).mean, posterior_after(encoder, context).mean)
    other.load_state_dict(encoder.state_dict())
    assert_identical(other.encode(context), encoder.encode(context))


WRONG = {
    "observation": [
        (2, 5, OBSERVATION_DIM + 1),
        (2, 4, OBSERVATION_DIM),
        (1, 5, OBSERVATION_DIM),
        (2, OBSERVATION_DIM),
    ],
    "action": [(2, 5, ACTION_DIM + 1), (2, 5, 1), (2, 4, ACTION_DIM), (2, 5)],
    "reward": [(2, 5, 1), (2, 4), (1, 5), (5,)],
    "next_observation": [(2, 5, OBSERVATION_DIM - 1), (3, 5, OBSERVATION_DIM), (2, 5)],
}


@pytest.mark.parametrize(("field", "shape"), [(field, shape) for field in WRONG for shape in WRONG[field]])
def test_a_field_of_the_wrong_shape_is_named(encoder: ContextEncoder[Any], field: str, shape: tuple[int, ...]) -> None:
    context = random_context(2, 5)._replace(**{field: torch.zeros(shape)})
    with pytest.raises(ValueError, match=rf"^Context\.{field} must have the shape .*, got ") as raised:
        encoder.encode(context)
    assert str(shape) in str(raised.value)


@pytest.mark.parametrize("mask", [torch.ones(2, 5), torch.ones(2, 5, 1, dtype=torch.bool), torch.ones(5).bool()])
def test_a_mask_of_the_wrong_type_or_shape_is_named(encoder: ContextEncoder[Any], mask: Tensor) -> None:
    with pytest.raises(ValueError, match=r"^Context\.mask must be a bool tensor of shape \(task, step\), got "):
        encoder.update(encoder.prior(2), random_context(2, 5)._replace(mask=mask))
