"""Attention reads the newest transitions, as many as its window holds, and nothing of what is older."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from encoders import Context, WindowBelief, WindowedAttention
from tests.support.encoder_tester import (
    TOLERANCE,
    assert_close,
    assert_identical,
    at_steps,
    build_encoder,
    fold,
    posterior_after,
    random_context,
    random_mask,
)

TASKS, WINDOW = 3, 5


def attention(**settings: Any) -> WindowedAttention:
    built = build_encoder("attention", **{"window": WINDOW, **settings})
    assert isinstance(built, WindowedAttention)
    return built


def gapped(steps: int, *, seed: int = 0) -> Context:
    return random_context(TASKS, steps, seed=seed)._replace(mask=random_mask(TASKS, steps, seed=seed))


def assert_close_beliefs(found: WindowBelief, expected: WindowBelief) -> None:
    torch.testing.assert_close(found.window, expected.window, **TOLERANCE)
    assert torch.equal(found.n_held, expected.n_held)


@pytest.mark.parametrize("lengths", [[1] * 23, [5, 5, 5, 8], [2, 21], [21, 2], [0, 3, 0, 20], [4, 1, 18]])
def test_a_window_filled_in_pieces_is_the_window_filled_at_once_beyond_its_length(lengths: list[int]) -> None:
    encoder = attention()
    for seed in range(3):
        context = gapped(23, seed=seed)
        assert (context.mask.sum(1) > WINDOW).all()
        found, expected = fold(encoder, context, lengths), encoder.encode(context)
        assert_close_beliefs(found, expected)
        assert_close(encoder.posterior(found), encoder.posterior(expected))


def test_the_window_holds_the_features_of_the_newest_in_time_order_behind_zeros() -> None:
    encoder, context = attention(), gapped(9)
    context.mask[1, 2:] = False
    belief = encoder.encode(context)
    for task in range(TASKS):
        fields = (context.observation, context.action, context.reward.unsqueeze(-1), context.next_observation)
        inputs = torch.cat([values[task, context.mask[task]] for values in fields], dim=-1)[-WINDOW:]
        held = len(inputs)
        torch.testing.assert_close(belief.window[task, WINDOW - held :], encoder.features(inputs), **TOLERANCE)
        assert (belief.window[task, : WINDOW - held] == 0).all()
        assert belief.n_held[task] == held
    assert belief.n_held[1] < WINDOW


def test_what_is_older_than_the_window_is_forgotten_and_nothing_else() -> None:
    encoder, context = attention(), random_context(TASKS, WINDOW + 4)
    before = encoder.encode(context)
    for step in range(WINDOW + 4):
        reward = context.reward.clone()
        reward[:, step] += 1.0
        after = encoder.encode(context._replace(reward=reward))
        if step < 4:
            assert_identical(after, before)
        else:
            change = encoder.posterior(after).mean - encoder.posterior(before).mean
            assert (change.abs().amax(1) > 1e-4).all()


def test_a_long_trials_belief_is_that_of_its_newest_transitions_alone() -> None:
    encoder, context = attention(), random_context(TASKS, 60)
    newest = encoder.encode(at_steps(context, slice(-WINDOW, None)))
    assert_close_beliefs(encoder.encode(context), newest)
    assert_close_beliefs(fold(encoder, context, [7] * 8 + [4]), newest)


def test_masked_steps_push_nothing_out_of_the_window() -> None:
    encoder, context = attention(), random_context(TASKS, WINDOW)
    padding = random_context(TASKS, 50, seed=1)._replace(mask=torch.zeros(TASKS, 50, dtype=torch.bool))
    followed = Context(*(torch.cat(pair, dim=1) for pair in zip(context, padding, strict=True)))
    assert_identical(encoder.encode(followed), encoder.encode(context))


def test_transitions_that_would_fall_out_at_once_are_not_read() -> None:
    encoder, rows = attention(), []
    encoder.features.register_forward_pre_hook(lambda _, inputs: rows.append(len(inputs[0])))
    encoder.encode(random_context(TASKS, 100))
    assert rows == [TASKS * WINDOW]


@pytest.mark.parametrize("window", [1, 2, 30])
def test_memory_is_as_large_as_the_window_whatever_the_trial(window: int) -> None:
    encoder = attention(window=window)
    for steps in (0, 1, 100):
        belief = encoder.encode(random_context(TASKS, steps))
        assert [values.shape for values in belief] == [(TASKS, window, 8), (TASKS,)]
        assert belief.n_held.tolist() == [min(steps, window)] * TASKS


def test_while_ages_are_zero_as_they_are_born_the_order_does_not_matter() -> None:
    aged, context = attention(), random_context(TASKS, WINDOW)
    shuffled = at_steps(context, torch.tensor([3, 0, 4, 2, 1]))
    newborn = WindowedAttention(3, 2, 4, window=WINDOW)
    assert (newborn.ages == 0).all()
    assert_close(posterior_after(newborn, shuffled), posterior_after(newborn, context))
    moved = posterior_after(aged, shuffled).mean - posterior_after(aged, context).mean
    assert (moved.abs().amax(1) > 1e-3).all()


def test_an_age_counts_from_the_newest_transition_whatever_there_is_of_older_ones() -> None:
    encoder, seen = attention(), []
    encoder.blocks[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    for steps in (1, 3, WINDOW):
        context = random_context(TASKS, 9)
        belief = encoder.encode(at_steps(context, slice(-steps, None)))
        encoder.posterior(belief)
        torch.testing.assert_close(seen[-1][:, -steps:], belief.window[:, -steps:] + encoder.ages[-steps:])


@pytest.mark.parametrize(("feature_dim", "n_heads"), [(8, 4), (6, 2), (5, 1)])
def test_the_posterior_is_the_one_worked_out_task_by_task_and_head_by_head(feature_dim: int, n_heads: int) -> None:
    encoder = attention(feature_dim=feature_dim)
    belief = encoder.encode(gapped(6))
    posterior = encoder.posterior(belief)
    for task in range(TASKS):
        held = int(belief.n_held[task])
        tokens = belief.window[task, WINDOW - held :] + encoder.ages[WINDOW - held :]
        for block in encoder.blocks:
            normed = block.attention_norm(tokens)
            tokens = tokens + attended(block.attention, normed, normed, n_heads)
            tokens = tokens + block.perceptron(block.perceptron_norm(tokens))
        pooled = attended(encoder.pooling, encoder.query.unsqueeze(0), encoder.norm(tokens), n_heads).squeeze(0)
        mean, raw_stddev = encoder.head(torch.cat([pooled, torch.tensor([held + 1.0]).log()])).chunk(2)
        torch.testing.assert_close(posterior.mean[task], mean, **TOLERANCE)
        torch.testing.assert_close(posterior.stddev[task], (1 + (raw_stddev + 0.5).exp()).log() + 1e-3, **TOLERANCE)


def attended(layer: Any, asking: Tensor, asked: Tensor, n_heads: int) -> Tensor:
    """What (query, dim) find among (token, dim), one head after another."""
    keys, values = layer.keys_and_values(asked).chunk(2, dim=-1)
    found = []
    parts = (rows.chunk(n_heads, dim=-1) for rows in (layer.queries(asking), keys, values))
    for query, key, value in zip(*parts, strict=True):
        found.append((query @ key.T / query.shape[-1] ** 0.5).softmax(-1) @ value)
    output: Tensor = layer.output(torch.cat(found, dim=-1))
    return output


def test_gradients_reach_the_newest_transitions_also_from_the_belief_before_and_none_that_are_older() -> None:
    encoder, context = attention(), random_context(TASKS, WINDOW + 4)
    for lengths in ([WINDOW + 4], [WINDOW, 3, 1], [1] * (WINDOW + 4)):
        context.reward.requires_grad_().grad = None
        encoder.posterior(fold(encoder, context, lengths)).mean.square().sum().backward()
        assert context.reward.grad is not None
        assert ((context.reward.grad != 0).sum(0) == torch.tensor([0] * 4 + [TASKS] * WINDOW)).all()


def test_an_empty_window_beside_full_ones_gives_the_prior_and_no_gradient_and_no_softmax_is_over_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    attend, masks = functional.scaled_dot_product_attention, []

    def watched(*args: Tensor, attn_mask: Tensor) -> Tensor:
        masks.append(attn_mask)
        return attend(*args, attn_mask=attn_mask)

    monkeypatch.setattr(functional, "scaled_dot_product_attention", watched)
    encoder, context = attention(), random_context(TASKS, 4)
    context.mask[1] = False
    posterior = encoder.posterior(encoder.encode(context))
    assert posterior.mean[1].tolist() == [0] * 4
    assert posterior.stddev[1].tolist() == [1] * 4
    posterior.mean[1].sum().backward()
    gradients = [parameter.grad for parameter in encoder.parameters() if parameter.grad is not None]
    assert gradients
    assert all((gradient == 0).all() for gradient in gradients)
    assert len(masks) == 3
    assert all(mask.any(-1).all() for mask in masks)
