"""Ten problems of users' kinds, on which no setting was chosen: they measure the defaults.

    python experiments/compare.py room-heating --import unseen --algorithms pearl multitask_sac oracle_sac \
        --seeds 0 --total-steps 60000 --out results/unseen

``pearl`` infers the task, ``multitask_sac`` plays one policy for all tasks, ``oracle_sac`` observes the task. z is
worth (pearl − multitask_sac) / (oracle_sac − multitask_sac) of what being told the task is worth; ``unseen.worth``
prints it.
"""

import numpy as np

import pearl
from pearl.tasks import Sampler
from unseen.continuous import Heating, Lift, Steering, TwoLinkArm
from unseen.discrete import Bandit, Grid, Inventory, Ring
from unseen.problem import Problem


def _log_uniform(low: float, high: float, rng: np.random.Generator) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


PROBLEMS = {
    "room-heating": Problem(
        Heating,
        lambda rng: {
            "power": rng.uniform(1.0, 4.0),
            "loss": rng.uniform(0.02, 0.1),
            "wanted": rng.uniform(17.0, 23.0),
        },
        horizon=100,
    ),
    "payload-lift": Problem(
        Lift,
        lambda rng: {"mass": _log_uniform(0.4, 2.0, rng), "target": rng.uniform(0.5, 2.5)},
        horizon=100,
    ),
    "rotated-steering": Problem(Steering, lambda rng: {"angle": rng.uniform(-np.pi, np.pi)}, horizon=50),
    "two-link-arm": Problem(
        TwoLinkArm,
        lambda rng: {
            "upper": rng.uniform(0.5, 1.5),
            "lower": rng.uniform(0.5, 1.5),
            "x": rng.uniform(-1.5, 1.5),
            "y": rng.uniform(-1.5, 1.5),
        },
        horizon=60,
    ),
    "hidden-goal-grid": Problem(
        Grid,
        lambda rng: {"goal": int(rng.integers(1, 25)), "slip": rng.uniform(0.0, 0.2)},
        horizon=30,
    ),
    "gaussian-bandit": Problem(Bandit, lambda rng: {"means": [float(mean) for mean in rng.normal(size=5)]}, horizon=40),
    "permuted-ring": Problem(
        Ring,
        lambda rng: {
            "moves": [int(move) for move in rng.permutation([-2, -1, 0, 1])],
            "goal": int(rng.integers(8)),
            "slip": rng.uniform(0.0, 0.2),
        },
        horizon=30,
    ),
    "inventory": Problem(
        Inventory,
        lambda rng: {"demand": rng.uniform(1.0, 8.0), "price": rng.uniform(1.5, 4.0), "storage": rng.uniform(0.1, 1.0)},
        horizon=50,
    ),
}
"""The problems that are defined here; two more are made of Gymnasium's"""


def mirrored_cartpole() -> pearl.TaskDistribution:
    """CartPole whose pushes go the wrong way in half of the tasks, with poles of different lengths."""
    varied: dict[str, Sampler] = {"length": pearl.LogUniform(0.3, 1.2), "force_mag": pearl.Uniform(6.0, 14.0)}
    return pearl.mirrored(pearl.perturbed("CartPole-v1", varied))


def mirrored_acrobot() -> pearl.TaskDistribution:
    """Acrobot whose torque acts the wrong way in half of the tasks, with links of different masses."""
    varied: dict[str, Sampler] = {"LINK_MASS_1": pearl.Uniform(0.7, 1.3), "LINK_MASS_2": pearl.Uniform(0.7, 1.3)}
    return pearl.mirrored(pearl.perturbed("Acrobot-v1", varied))


for name, problem in PROBLEMS.items():
    pearl.register(name, problem.named(name), f"unseen: {problem.env.__doc__}")
pearl.register("mirrored-cartpole", mirrored_cartpole, "unseen: CartPole, mirrored in half of the tasks.")
pearl.register("mirrored-acrobot", mirrored_acrobot, "unseen: Acrobot, mirrored in half of the tasks.")
