"""Meta-training goes on exactly where it stopped, follows from its seed alone, and stops loudly when a value breaks."""

import random

import numpy as np
import pytest
import torch

import pearl
from pearl import PEARL, ConfigError, DivergedError, NonFiniteError
from tests.support.small import (
    INITIAL,
    ITERATION,
    LENGTH,
    Counting,
    differences,
    everything_learnt,
    small_config,
    small_model,
)

pytestmark = pytest.mark.usefixtures("one_thread")


def reloaded(model, folder, **options):
    model.save(folder, **options)
    return pearl.load(folder, distribution=Counting())


@pytest.mark.parametrize(
    "sections",
    [
        {},
        {"training": {"tasks_per_iteration": 2}},
        {"training": {"tasks_per_iteration": 1, "initial_episodes": 0, "replay_capacity": 12}},
        {"training": {"context": {"recent_transitions": 4}}, "encoder": {"kind": "pooled_features"}},
        {"agent": {"final_learning_rate": 1e-4, "temperature": 0.1}, "encoder": {"kind": "mean"}},
        {"training": {"gradient_steps_per_env_step": 0.1}, "encoder": {"kind": "product_of_gaussians"}},
    ],
    ids=["all tasks", "two tasks", "wrapped replay", "recent, pooled", "schedule, mean", "fractions, product"],
)
def test_n_steps_saved_and_loaded_and_n_more_equal_2n_bit_for_bit(sections, tmp_path):
    n = INITIAL + ITERATION
    unbroken = small_model(**sections).learn(2 * n)
    first = small_model(**sections).learn(n)
    resumed = reloaded(first, tmp_path)
    assert differences(everything_learnt(first), everything_learnt(resumed)) == []
    resumed.learn(2 * n - resumed.num_timesteps)
    assert unbroken.num_timesteps >= 2 * n > first.num_timesteps
    assert unbroken.training.gradient_steps > first.training.gradient_steps > 0
    assert differences(everything_learnt(unbroken), everything_learnt(resumed)) == []


def test_n_plus_n_equals_2n_in_a_native_family_too(tmp_path):
    n = 4 * 20
    unbroken = small_model("point-robot").learn(3 * n)
    small_model("point-robot").learn(n).save(tmp_path)
    resumed = pearl.load(tmp_path).learn(2 * n)
    assert differences(everything_learnt(unbroken), everything_learnt(resumed)) == []


def test_a_resumed_model_evaluates_as_the_unbroken_one(tmp_path):
    model = small_model().learn(INITIAL + ITERATION)
    resumed = reloaded(model, tmp_path)
    assert np.array_equal(model.evaluate().trajectories.action, resumed.evaluate().trajectories.action)
    assert torch.equal(model.session().memory.z, resumed.session().memory.z)


@pytest.mark.parametrize("rate", [0.125, 0.03, 2.5, 0.0])
def test_gradient_steps_follow_the_environment_steps_with_fractions_carried_over(rate, tmp_path):
    model = small_model(training={"gradient_steps_per_env_step": rate, "total_steps": 10_000})
    for n in range(1, 5):
        before = model.training.gradient_steps
        model.learn(1)
        assert model.num_timesteps == INITIAL + (n - 1) * ITERATION
        assert model.training.gradient_steps == pytest.approx(rate * model.num_timesteps, abs=1)
        assert model.training.gradient_steps - before <= rate * ITERATION + 1
        model = reloaded(model, tmp_path / str(n))


@pytest.mark.parametrize("training_state", [True, False])
def test_there_is_no_burst_of_gradient_steps_after_resuming(training_state, tmp_path):
    model = small_model().learn(INITIAL + 3 * ITERATION)
    resumed = reloaded(model, tmp_path, training_state=training_state)
    before = resumed.training.gradient_steps, resumed.num_timesteps
    assert before == (model.training.gradient_steps, model.num_timesteps)
    resumed.learn(1)
    assert resumed.training.gradient_steps - before[0] == 0.125 * (resumed.num_timesteps - before[1])


def test_nothing_is_learnt_without_steps():
    model = small_model()
    before = everything_learnt(model)
    model.learn(0)
    assert differences(before, everything_learnt(model)) == []
    with pytest.raises(ValueError, match="total_timesteps must be at least 0, got -1"):
        model.learn(-1)


def test_without_a_length_training_goes_to_its_total_and_no_further():
    model = small_model(training={"total_steps": INITIAL + ITERATION + 1}).learn()
    assert model.num_timesteps == INITIAL + 2 * ITERATION
    assert model.learn().num_timesteps == INITIAL + 2 * ITERATION


def test_the_learning_rate_holds_for_half_of_training_falls_linearly_to_its_end_and_stays_there():
    total = INITIAL + 6 * ITERATION
    model = small_model(agent={"learning_rate": 1e-2, "final_learning_rate": 1e-3}, training={"total_steps": total})
    rates = []
    for _ in range(9):
        model.learn(1)
        rates.append(model.agent.optimizer.param_groups[0]["lr"])
        progress = model.num_timesteps / total
        fallen = min(1.0, max(0.0, 2 * progress - 1))
        assert rates[-1] == pytest.approx(1e-2 + fallen * (1e-3 - 1e-2))
    assert rates[0] == pytest.approx(1e-2)
    assert len(set(rates)) > 3
    assert rates[-2:] == [pytest.approx(1e-3)] * 2


def test_without_a_final_learning_rate_it_is_constant():
    model = small_model(agent={"learning_rate": 5e-3, "final_learning_rate": None}).learn(3 * ITERATION)
    assert [group["lr"] for group in model.agent.optimizer.param_groups] == [5e-3]


def test_two_runs_of_one_seed_are_identical_and_of_another_differ():
    one, same, other = (everything_learnt(small_model(seed=seed).learn(2 * ITERATION)) for seed in (0, 0, 1))
    assert differences(one, same) == []
    weights = {name for name in one if name.startswith("weights/") and "bound" not in name}
    unchanged = weights - set(differences(one, other))
    assert not any("actor" in name or "encoder" in name or "critics" in name for name in unchanged)


def global_states():
    return (torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate())  # noqa: NPY002


def lifetime(folder):
    """All that a user does with a model."""
    model = small_model(training={"tasks_per_iteration": 2}).learn(2 * ITERATION)
    model = reloaded(model, folder).learn(ITERATION)
    policy = model.adapt(model.task_distribution.make_env(model.test_tasks[0]))
    action, _ = policy.predict(np.zeros((2, 3)), None, np.ones(2, bool))
    return everything_learnt(model) | {
        "action": torch.as_tensor(action),
        "evaluated": model.evaluate().returns.tolist(),
    }


def seed_globally(seed):
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    random.seed(seed)


def test_the_global_generators_are_neither_used_nor_changed(tmp_path):
    seed_globally(1)
    before = global_states()
    one = lifetime(tmp_path / "one")
    assert global_states() == before
    seed_globally(2)
    other = lifetime(tmp_path / "other")
    assert differences(one, other) == []


@pytest.mark.parametrize("what", ["reward", "observation"])
@pytest.mark.parametrize("tasks_per_iteration", [None, 4])
def test_a_value_that_is_not_finite_names_the_task_and_leaves_the_last_checkpoint(what, tasks_per_iteration, tmp_path):
    config = small_config(training={"tasks_per_iteration": tasks_per_iteration})
    family = Counting(broken=(what, 3 * LENGTH + 2, float("nan")))
    model = PEARL(family, config)
    largest = max(model.train_tasks + model.test_tasks, key=lambda task: task.params["number"])
    # The counter of a broken environment is its own, so the task must be one that training keeps.
    model.training.tasks[1] = largest
    model.learn(INITIAL + ITERATION).save(tmp_path)
    saved = everything_learnt(model)
    with pytest.raises(NonFiniteError) as error:
        model.learn(ITERATION)
    assert f"task 1 ({largest})" in str(error.value)
    assert f"{what} " in str(error.value)
    assert "nan" in str(error.value)
    assert "at step 2" in str(error.value)
    changed = differences(saved, everything_learnt(model))
    assert [name for name in changed if name.startswith(("weights/", "optimizers/", "replay/"))] == []
    restored = pearl.load(tmp_path, distribution=Counting())
    assert differences(saved, everything_learnt(restored)) == []
    restored.learn(ITERATION)


def test_a_loss_that_is_not_finite_ends_training_and_leaves_the_last_checkpoint(tmp_path):
    model = small_model()
    model.save(tmp_path)
    model.agent.critics.weights[0].data.fill_(float("nan"))
    with pytest.raises(DivergedError, match=r"diverged at \d+ gradient steps: .*actor_loss.* is not finite"):
        model.learn(INITIAL)
    restored = pearl.load(tmp_path, distribution=Counting())
    assert all(torch.isfinite(tensor).all() for tensor in restored.agent.state_dict().values())


def test_rewards_scaled_beyond_all_measure_diverge_loudly():
    with pytest.raises(DivergedError, match="critic_loss"):
        small_model(agent={"reward_scale": 1e30}).learn(INITIAL + ITERATION)


def test_evaluations_do_not_change_training():
    n = INITIAL + 3 * ITERATION
    often = small_model(evaluation={"interval": 1})
    seen = []
    often.learn(n, on_evaluation=lambda evaluation, values: seen.append(values["env_steps"]))
    assert seen == [0, INITIAL, *(INITIAL + k * ITERATION for k in range(1, 4))]
    rarely = small_model(evaluation={"interval": 1_000_000, "n_test_tasks": 3}).learn(n)
    assert differences(everything_learnt(often), everything_learnt(rarely)) == []


def test_adapting_and_predicting_between_do_not_change_training():
    n = INITIAL + ITERATION
    plain = small_model().learn(n).learn(ITERATION)
    busy = small_model().learn(n)
    busy.adapt(busy.task_distribution.make_env(busy.test_tasks[0]))
    busy.predict(np.zeros(3))
    busy.evaluate(seed=5)
    assert differences(everything_learnt(plain), everything_learnt(busy.learn(ITERATION))) == []


def test_training_in_one_go_equals_training_in_pieces():
    whole = small_model().learn(INITIAL + 3 * ITERATION)
    pieces = small_model()
    for _ in range(4):
        pieces.learn(1)
    assert differences(everything_learnt(whole), everything_learnt(pieces)) == []


def test_a_replay_over_its_budget_is_refused_when_the_model_is_made():
    with pytest.raises(MemoryError, match=r"replay_budget_mb\) is 1 MiB"):
        small_model(training={"replay_capacity": 10_000_000, "replay_budget_mb": 1})


def test_an_environment_without_a_time_limit_is_refused_with_a_remedy_that_works():
    class Endless(Counting):
        def make_env(self, task, *, render_mode=None):
            return super().make_env(task).unwrapped

    with pytest.raises(ValueError, match=r"no time limit.*gymnasium\.wrappers\.TimeLimit"):
        PEARL(Endless(), small_config())
    assert PEARL(Counting(), small_config()).horizon == 10


@pytest.mark.parametrize(
    "kind", ["linear_gaussian", "product_of_gaussians", "pooled_features", "mean", "gru", "attention"]
)
def test_every_encoder_trains_and_every_network_moves(kind):
    model = small_model(encoder={"kind": kind})
    before = {name: tensor.clone() for name, tensor in model.agent.named_parameters()}
    model.learn(2 * ITERATION)
    assert [name for name, now in model.agent.named_parameters() if torch.equal(before[name], now)] == []


def rows_of_gradient_steps(model, n):
    """The meta-batches that ``learn(n)`` trains on."""
    batches, update = [], model.agent.update
    model.agent.update = lambda batch, rng: batches.append(batch) or update(batch, rng)
    model.learn(n)
    return batches


@pytest.mark.parametrize("initial_episodes", [0, 1])
def test_relabelled_rows_have_the_rewards_of_one_training_task(initial_episodes):
    training = {"relabelling": {"candidates": 3}, "initial_episodes": initial_episodes, "tasks_per_iteration": 1}
    model = small_model("sparse-point-robot", training=training)
    batches = rows_of_gradient_steps(model, 160)
    assert len(batches) >= 15
    for context, transitions, *_ in batches:
        for row in range(len(context.mask)):
            shown = (transitions.observation[[row]], transitions.action[[row]], transitions.next_observation[[row]])
            seen = (context.observation[[row]], context.action[[row]], context.next_observation[[row]])
            fits = []
            for task in model.train_tasks:
                _, training_reward = model.task_distribution.relabel([task], *(field.numpy() for field in shown))
                true_reward, _ = model.task_distribution.relabel([task], *(field.numpy() for field in seen))
                mask = context.mask[row].numpy()
                fits.append(
                    np.allclose(training_reward, transitions.reward[row], atol=1e-6)
                    and np.allclose(true_reward[0, mask], context.reward[row].numpy()[mask], atol=1e-6)
                )
            assert fits.count(True) == 1


def test_relabelling_needs_a_family_that_computes_its_rewards():
    with pytest.raises(ConfigError, match=r"training\.relabelling\.candidates needs a family"):
        small_model(training={"relabelling": {"candidates": 2}}).learn(INITIAL)


def test_training_improves_a_task_that_needs_no_adaptation():
    """The end of the line: rewards reach the critics, the critics reach the actor, the actor acts."""
    config = small_config(
        agent={"hidden_sizes": (32, 32), "learning_rate": 3e-3, "discount": 0.8, "temperature": 0.02},
        training={
            "total_steps": 1_000,
            "gradient_steps_per_env_step": 0.5,
            "batch_size": 32,
            "replay_capacity": 2000,
            "context": {"max_length": 20},
        },
    )
    goals = [pearl.Task({"goal": [0.0, k / 100]}) for k in range(7)]
    model = PEARL("point-robot", config, tasks=(goals[:4], goals[4:]))
    before = model.evaluate().score
    after = model.learn(1000).evaluate().score
    assert before < 0.4
    assert after > 0.6
