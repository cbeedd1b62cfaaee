"""Meta-World's meta-learning benchmarks ML1, ML10 and ML45 (Yu et al. 2020), in version 3: tasks of one robot arm.

A task is an environment and the positions that Metaworld drew for it, ``{"env": "reach-v3", "rand_vec": [x, y, …]}``.
Each environment has 50 tasks for training or 50 for test; in ML1 it has 50 for each. They are Metaworld's own tasks for
the seed ``BENCHMARK_SEED`` and do not depend on the run's seed. The goal is hidden from the observation (its last three
numbers are 0) and must be inferred from rewards. Episodes are deterministic: all episodes of a task start in the same
state, whatever the seed. Rewards lie in [0, 10]. ``info["success"]`` says at each step whether the task is solved.
Episodes never terminate.

Metaworld is imported with the first environment or task: ``pip install pearl-metarl[metaworld]``.
"""

import difflib
import functools
import itertools
import pickle
from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium.error import DependencyNotInstalled
from numpy.typing import NDArray

from pearl.tasks.distribution import Task, TaskDistribution
from pearl.tasks.registry import register, register_pattern

BENCHMARK_SEED = 0
EPISODE_STEPS = 500
# Metaworld's scripted policies take 20 to 190 steps; longer episodes would only make trials slower.
ML1_EPISODE_STEPS = 200
CAMERA = "corner2"

ENVIRONMENTS = (
    "assembly-v3",
    "basketball-v3",
    "bin-picking-v3",
    "box-close-v3",
    "button-press-topdown-v3",
    "button-press-topdown-wall-v3",
    "button-press-v3",
    "button-press-wall-v3",
    "coffee-button-v3",
    "coffee-pull-v3",
    "coffee-push-v3",
    "dial-turn-v3",
    "disassemble-v3",
    "door-close-v3",
    "door-lock-v3",
    "door-open-v3",
    "door-unlock-v3",
    "drawer-close-v3",
    "drawer-open-v3",
    "faucet-close-v3",
    "faucet-open-v3",
    "hammer-v3",
    "hand-insert-v3",
    "handle-press-side-v3",
    "handle-press-v3",
    "handle-pull-side-v3",
    "handle-pull-v3",
    "lever-pull-v3",
    "peg-insert-side-v3",
    "peg-unplug-side-v3",
    "pick-out-of-hole-v3",
    "pick-place-v3",
    "pick-place-wall-v3",
    "plate-slide-back-side-v3",
    "plate-slide-back-v3",
    "plate-slide-side-v3",
    "plate-slide-v3",
    "push-back-v3",
    "push-v3",
    "push-wall-v3",
    "reach-v3",
    "reach-wall-v3",
    "shelf-place-v3",
    "soccer-v3",
    "stick-pull-v3",
    "stick-push-v3",
    "sweep-into-v3",
    "sweep-v3",
    "window-close-v3",
    "window-open-v3",
)

TasksByEnvironment = Mapping[str, Sequence[Task]]


class TaskSets(NamedTuple):
    """A benchmark's tasks by environment, in Metaworld's order."""

    train: TasksByEnvironment
    test: TasksByEnvironment


class _MetaworldFamily(TaskDistribution):
    """Base class of the Meta-World families.

    Args:
        episode_steps: environment steps after which an episode is truncated.

    Raises:
        ValueError: ``episode_steps`` is below 1.
    """

    simulators = ("mujoco", "metaworld")

    def __init__(self, *, episode_steps: int = EPISODE_STEPS) -> None:
        if episode_steps < 1:
            raise ValueError(f"episode_steps must be at least 1, got {episode_steps}.")
        self.episode_steps = episode_steps

    @abstractmethod
    def task_sets(self) -> TaskSets:
        """Return all training and test tasks.

        Raises:
            ImportError: Metaworld is not installed.
        """

    @abstractmethod
    def _environments(self) -> Collection[str]:
        """Return the names of all environments, for training or test."""

    def sample(self, n: int, rng: np.random.Generator) -> list[Task]:
        """Draw ``n`` different training tasks, balanced over environments; the same generator state gives the same.

        Raises:
            ImportError: Metaworld is not installed.
            ValueError: there are fewer than ``n`` tasks.
        """
        return _balanced(self.task_sets().train, n, rng, f"{self.name} has {{}} training tasks")

    def split(self, n_train: int, n_test: int, rng: np.random.Generator) -> tuple[list[Task], list[Task]]:
        """Draw training tasks from Metaworld's training tasks and test tasks from its test tasks.

        Raises:
            ImportError: Metaworld is not installed.
            ValueError: there are fewer tasks than asked for.
        """
        test = _balanced(self.task_sets().test, n_test, rng, f"{self.name} has {{}} test tasks")
        return self.sample(n_train, rng), test

    def make_env(self, task: Task, *, render_mode: str | None = None) -> gym.Env[Any, Any]:
        """Build the environment of one task.

        Raises:
            ImportError: Metaworld is not installed.
            ValueError: the task does not belong to this family.
        """
        environment, rand_vec = self._parameters(task)
        metaworld = _metaworld()
        env = metaworld.ALL_V3_ENVIRONMENTS[environment](render_mode=render_mode, camera_name=CAMERA)
        _check_rand_vec(rand_vec, env._random_reset_space, task)
        parameters = {"rand_vec": rand_vec, "env_cls": type(env), "partially_observable": True}
        env.set_task(metaworld.Task(env_name=environment, data=pickle.dumps(parameters)))
        env.max_path_length = self.episode_steps
        return gym.wrappers.TimeLimit(_TaskEnv(env, task), self.episode_steps)

    def _parameters(self, task: Task) -> tuple[str, NDArray[np.float64]]:
        if set(task.params) != {"env", "rand_vec"}:
            raise ValueError(f"A task of {self.name} has the parameters 'env' and 'rand_vec', got ({task}).")
        environment = task.params["env"]
        if environment not in self._environments():
            raise ValueError(_unknown(environment, self._environments(), f"{self.name} has no environment"))
        return environment, np.array(task.params["rand_vec"], np.float64)


class ML1(_MetaworldFamily):
    """One environment, with 50 positions of goals or objects in training and 50 others in test.

    Args:
        environment: one of ``ENVIRONMENTS``, for example "reach-v3".
        episode_steps: environment steps after which an episode is truncated; 500 in Metaworld's own protocol.

    Raises:
        ValueError: no such environment, or ``episode_steps`` is below 1.
    """

    def __init__(self, environment: str, *, episode_steps: int = ML1_EPISODE_STEPS) -> None:
        if environment not in ENVIRONMENTS:
            raise ValueError(_unknown(environment, ENVIRONMENTS, "Metaworld has no environment"))
        super().__init__(episode_steps=episode_steps)
        self.environment = environment
        self.name = f"ml1-{environment}"

    def task_sets(self) -> TaskSets:
        """Return the 50 training and the 50 test tasks."""
        return _task_sets("ML1", self.environment)

    def _environments(self) -> Collection[str]:
        return (self.environment,)


class _ManyEnvironments(_MetaworldFamily):
    """Base class of families whose test environments are not among the training environments."""

    _benchmark: str

    def task_sets(self) -> TaskSets:
        """Return 50 tasks of each environment; the first call in a process takes seconds."""
        return _task_sets(self._benchmark)

    def _environments(self) -> Collection[str]:
        classes = getattr(_metaworld().env_dict, f"{self._benchmark}_V3")
        return (*classes["train"], *classes["test"])


class ML10(_ManyEnvironments):
    """Ten training environments and five others for test, with 50 positions of goals or objects in each.

    Args:
        episode_steps: environment steps after which an episode is truncated.
    """

    name = "ml10"
    _benchmark = "ML10"


class ML45(_ManyEnvironments):
    """45 training environments and five others for test, with 50 positions of goals or objects in each.

    Args:
        episode_steps: environment steps after which an episode is truncated.
    """

    name = "ml45"
    _benchmark = "ML45"


class _TaskEnv(gym.Wrapper[Any, Any, Any, Any]):
    """Wrapper that fixes Metaworld's environment to one task.

    If two positions are too near to each other, Metaworld draws again. A task's positions are fixed, so it would draw
    forever. This wrapper raises an error instead.
    """

    def __init__(self, env: Any, task: Task) -> None:
        super().__init__(env)
        self._task = task
        self._rand_vec = env._get_state_rand_vec()
        env._get_state_rand_vec = self._draw
        self._draws = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode; all episodes of a task start in the same state.

        Raises:
            ValueError: the task's positions are too near to each other for its environment.
        """
        self._draws = 0
        return super().reset(seed=seed, options=options)

    def render(self) -> Any:
        """Return a frame, (height, width, 3) uint8; Metaworld's camera hangs upside down."""
        frame: Any = super().render()
        return frame if frame is None else np.rot90(frame, 2).copy()

    def _draw(self) -> NDArray[np.float64]:
        self._draws += 1
        if self._draws > 10:  # A reset places everything twice.
            raise ValueError(f"Metaworld does not accept the positions of task ({self._task}): two are too near.")
        positions: NDArray[np.float64] = self._rand_vec.copy()
        return positions


def _check_rand_vec(rand_vec: NDArray[np.float64], space: gym.spaces.Box, task: Task) -> None:
    if rand_vec.shape != space.shape or not ((space.low <= rand_vec) & (rand_vec <= space.high)).all():
        raise ValueError(
            f"rand_vec of task ({task}) must be {space.low.size} numbers, from {space.low.tolist()} to "
            f"{space.high.tolist()}."
        )


def _balanced(tasks: TasksByEnvironment, n: int, rng: np.random.Generator, has: str) -> list[Task]:
    """Draw ``n`` tasks without replacement, from each environment in turn; ``has`` starts the error message."""
    total = sum(map(len, tasks.values()))
    if n > total:
        raise ValueError(f"{has.format(total)}, {n} were asked for.")
    shuffled = [[group[index] for index in rng.permutation(len(group))] for group in tasks.values()]
    groups = [shuffled[index] for index in rng.permutation(len(shuffled))]
    in_turn = [task for turn in itertools.zip_longest(*groups) for task in turn if task is not None]
    return in_turn[:n]


@functools.cache
def _task_sets(benchmark: str, *arguments: str) -> TaskSets:
    made = getattr(_metaworld(), benchmark)(*arguments, seed=BENCHMARK_SEED)
    sets = TaskSets(_by_environment(made.train_tasks), _by_environment(made.test_tasks))
    train, test = ({task for group in tasks.values() for task in group} for tasks in sets)
    if not train.isdisjoint(test):
        raise RuntimeError(
            f"Metaworld's {benchmark} has test tasks that are training tasks; use another version of it."
        )
    return sets


def _by_environment(tasks: Sequence[Any]) -> TasksByEnvironment:
    groups: dict[str, list[Task]] = {}
    for task in tasks:
        # Metaworld gives the positions only as a pickle. This one is safe: this process has just made it.
        rand_vec = pickle.loads(task.data)["rand_vec"]
        groups.setdefault(task.env_name, []).append(Task({"env": task.env_name, "rand_vec": rand_vec.tolist()}))
    return groups


def _metaworld() -> Any:
    try:
        import metaworld

        # Sends MuJoCo's warnings to logging; MuJoCo's own handler writes a file into the current directory.
        from pearl.tasks.families import mujoco_envs  # noqa: F401
    except (ImportError, DependencyNotInstalled) as error:
        raise ImportError(
            f"The Meta-World families need metaworld, which cannot be imported ({error}): "
            "pip install pearl-metarl[metaworld]"
        ) from error
    return metaworld


def _unknown(environment: object, known: Collection[str], has_no: str) -> str:
    near = difflib.get_close_matches(str(environment), known, n=3, cutoff=0.5)
    hint = f"Did you mean {' or '.join(map(repr, near))}? " if near else ""
    return f"{has_no} {environment!r}. {hint}Environments: {', '.join(sorted(known))}."


register_pattern(
    "ml1-<task>-v3",
    lambda name: ML1(name.removeprefix("ml1-")),
    [f"ml1-{environment}" for environment in ENVIRONMENTS],
    "a robot arm and one Meta-World task, its goal hidden, for example ml1-reach-v3 (Metaworld)",
    example="ml1-push-v3",
)
register(ML10.name, ML10, "a robot arm and ten Meta-World tasks, tested on five others (Metaworld)")
register(ML45.name, ML45, "a robot arm and 45 Meta-World tasks, tested on five others (Metaworld)")
