"""The GRU reads what is there of each task in time order, and nothing else."""

import pytest
import torch
from torch import Tensor, nn

from encoders import Context, RecurrentBelief, RecurrentFeatures
from tests.support.encoder_tester import (
    TOLERANCE,
    assert_close,
    assert_identical,
    at_steps,
    at_tasks,
    build_encoder,
    fold,
    posterior_after,
    random_context,
    random_mask,
)

TASKS, STEPS = 3, 7


@pytest.fixture
def encoder() -> RecurrentFeatures:
    built = build_encoder("gru")
    assert isinstance(built, RecurrentFeatures)
    return built


def padded(context: Context, places: list[int]) -> Context:
    """Put ``context`` at the steps ``places``, in its order, of a longer one that is otherwise masked rubbish."""
    steps = max(places) + 4
    rubbish = random_context(context.mask.shape[0], steps, seed=3, scale=1e3)
    spread = rubbish._replace(mask=torch.zeros_like(rubbish.mask))
    for values, given in zip(spread, context, strict=True):
        values[:, places] = given
    return spread


def by_hand(encoder: RecurrentFeatures, context: Context, hidden: Tensor) -> Tensor:
    """Each task's hidden state, from one cell that is called for each transition that is there."""
    cell = nn.GRUCell(encoder.feature_dim, encoder.feature_dim)
    weights = encoder.recurrence.state_dict().items()
    cell.load_state_dict({name.removesuffix("_l0"): weight for name, weight in weights})
    rows = []
    for task, state in enumerate(hidden):
        for step in context.mask[task].nonzero().squeeze(1):
            read = (context.observation, context.action, context.reward.unsqueeze(-1), context.next_observation)
            transition = torch.cat([values[task, step] for values in read])
            state = cell(encoder.features(transition).relu(), state)
        rows.append(state)
    return torch.stack(rows)


@pytest.mark.parametrize("seed", range(3))
def test_the_hidden_state_is_that_of_a_cell_called_for_each_transition_that_is_there(
    encoder: RecurrentFeatures, seed: int
) -> None:
    context = random_context(TASKS, STEPS, seed=seed)._replace(mask=random_mask(TASKS, STEPS, seed=seed))
    for belief in (encoder.prior(TASKS), encoder.encode(random_context(TASKS, 2, seed=9))):
        found = encoder.update(belief, context)
        torch.testing.assert_close(found.hidden, by_hand(encoder, context, belief.hidden), **TOLERANCE)
        assert torch.equal(found.n_seen, belief.n_seen + context.mask.sum(1))


@pytest.mark.parametrize(
    "places",
    [range(STEPS), range(5, 5 + STEPS), [0, 1, 2, 5, 6, 9, 14], [3, 4, 8, 9, 10, 17, 40]],
    ids=["behind", "before and behind", "between", "everywhere"],
)
def test_padding_anywhere_changes_nothing(encoder: RecurrentFeatures, places: list[int]) -> None:
    context = random_context(TASKS, STEPS)
    assert_close(posterior_after(encoder, padded(context, list(places))), posterior_after(encoder, context))


def test_a_step_that_is_masked_for_some_tasks_leaves_exactly_their_states_as_they_were(
    encoder: RecurrentFeatures,
) -> None:
    belief = encoder.encode(random_context(TASKS, 4))
    step = random_context(TASKS, 1, seed=1)._replace(mask=torch.tensor([[False], [True], [False]]))
    after = encoder.update(belief, step)
    assert_identical(at_rows(after, [0, 2]), at_rows(belief, [0, 2]))
    assert (after.hidden[1] != belief.hidden[1]).all()


def at_rows(belief: RecurrentBelief, tasks: list[int]) -> list[Tensor]:
    return [values[tasks] for values in belief]


def test_a_trial_after_another_tasks_trial_equals_the_trial_alone(encoder: RecurrentFeatures) -> None:
    first, second = random_context(1, STEPS), random_context(1, STEPS, seed=1)
    alone = encoder.encode(second)
    encoder.encode(first)
    assert_identical(encoder.encode(second), alone)
    both = Context(*(torch.cat(pair) for pair in zip(first, second, strict=True)))
    assert_close(encoder.posterior(RecurrentBelief(*at_rows(encoder.encode(both), [1]))), encoder.posterior(alone))


def test_the_same_transitions_backwards_are_another_trial(encoder: RecurrentFeatures) -> None:
    context = random_context(TASKS, STEPS)
    backwards = at_steps(context, torch.arange(STEPS - 1, -1, -1))
    forth, back = posterior_after(encoder, context), posterior_after(encoder, backwards)
    assert ((forth.mean - back.mean).abs().amax(1) > 1e-3).all()
    assert ((forth.stddev - back.stddev).abs().amax(1) > 1e-3).all()


def test_a_gradient_reaches_every_transition_that_is_there_and_no_other(encoder: RecurrentFeatures) -> None:
    context = random_context(TASKS, STEPS)._replace(mask=random_mask(TASKS, STEPS))
    context.reward.requires_grad_()
    posterior_after(encoder, context).mean.square().sum().backward()
    assert context.reward.grad is not None
    assert torch.equal(context.reward.grad != 0, context.mask)


def test_a_state_that_goes_on_hands_gradients_back_to_the_steps_before(encoder: RecurrentFeatures) -> None:
    context = random_context(1, 4)
    context.reward.requires_grad_()
    encoder.posterior(fold(encoder, context, [2, 0, 2])).mean.sum().backward()
    assert context.reward.grad is not None
    assert (context.reward.grad != 0).all()


def test_a_task_of_no_transitions_beside_others_keeps_its_state(encoder: RecurrentFeatures) -> None:
    context = random_context(TASKS, STEPS)
    context.mask[1] = False
    belief = encoder.encode(context)
    assert_identical(at_rows(belief, [1]), encoder.prior(1))
    alone = encoder.encode(at_tasks(context, slice(2, 3)))
    torch.testing.assert_close(belief.hidden[2:], alone.hidden, **TOLERANCE)
