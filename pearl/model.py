"""The public face: meta-train, save, load, adapt."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray

from agents import MetaAgent, PEARLAgent
from pearl.adaptation import AdaptedPolicy, Session, adapt
from pearl.config import Config, PEARLConfig, load_preset
from pearl.evaluation import Evaluation, References, check_disjoint, evaluate, measure_references
from pearl.rollout import StepEvent
from pearl.systems import find_system
from pearl.tasks import Task, TaskDistribution, family_name, make, time_limit
from pearl.training import MetaTraining, ReplayTraining

if TYPE_CHECKING:
    from pearl.callbacks import Callback


class MetaLearner:
    """A meta-reinforcement learner: meta-train once, then learn new tasks within a few episodes.

    Args:
        family: a registered family's name, or a task distribution.
        config: settings, whose class says which system learns: ``pearl.preset(pearl.RL2Config, "point-robot")``.
        seed: of the tasks, the weights, and every later draw.
        tasks: training and test tasks; drawn from the family where None.

    Raises:
        UnknownFamilyError: no family of this name.
        TypeError, ValueError: the family's spaces are not supported, or its tasks cannot be told apart.
        ConfigError: the device to learn on is not there, or the family cannot compute the rewards that are asked for.
        MemoryError: the replay would exceed its budget.
    """

    def __init__(
        self,
        family: str | TaskDistribution,
        config: Config,
        *,
        seed: int = 0,
        tasks: tuple[Sequence[Task], Sequence[Task]] | None = None,
    ) -> None:
        distribution = make(family) if isinstance(family, str) else family
        self.family = family_name(distribution)
        self.config = config
        self.seed = seed
        system = find_system(config.system)
        self.tasks = system.distribution(distribution)
        task_seed, weight_seed, training_seed, self._acting_seed, self._evaluation_seed = (
            int(word) for word in np.random.SeedSequence(seed).generate_state(5)
        )
        n_train, n_test = self.config.training.n_train_tasks, self.config.evaluation.n_test_tasks
        if tasks is None:
            tasks = self.tasks.split(n_train, n_test, np.random.default_rng(task_seed))
        self.train_tasks, self.test_tasks = list(tasks[0]), list(tasks[1])
        if not self.tasks.same_tasks:
            check_disjoint(self.train_tasks, self.test_tasks)
        env = self.tasks.make_env(self.train_tasks[0])
        self.observation_space, self.action_space = env.observation_space, env.action_space
        self.horizon = time_limit(env, f"The environments of {self.family!r} have")
        env.close()
        weight_rng = torch.Generator().manual_seed(weight_seed)
        self.agent: Any = system.make_agent(self.observation_space, self.action_space, config, weight_rng)
        self.training: MetaTraining = system.training(self.agent, self.tasks, self.train_tasks, config, training_seed)
        self.wall_s = 0.0
        self.next_evaluation = 0
        from pearl.callbacks import silent_logger  # stable-baselines3 takes as long to import as all of pearl

        self.logger = silent_logger()
        self._rng = torch.Generator().manual_seed(self._acting_seed)
        self._references: References | None = None

    @property
    def num_timesteps(self) -> int:
        """Environment steps taken in meta-training."""
        return self.training.env_steps

    def get_env(self) -> Any:
        """Return the training tasks' vector environment (for stable-baselines3 callbacks)."""
        return self.training.envs

    def get_vec_normalize_env(self) -> None:
        """Return None: observations are not normalised by a wrapper (for stable-baselines3 callbacks)."""

    def dump_logs(self) -> None:
        """Write what was recorded in the logger (for stable-baselines3 callbacks)."""
        self.logger.dump(self.num_timesteps)

    def learn(
        self,
        total_timesteps: int | None = None,
        callback: "Callback" = None,
        progress_bar: bool = False,
        *,
        on_evaluation: Callable[[Evaluation, dict[str, float]], None] | None = None,
        should_stop: Callable[[], bool] | None = None,
    ) -> Self:
        """Meta-train for ``total_timesteps`` further environment steps, evaluating on held-out tasks on the way.

        Training goes by whole iterations, so it ends at the first iteration's end at or past that many steps.

        Args:
            total_timesteps: environment steps; what is left of ``training.total_steps`` where None.
            callback: stable-baselines3 callbacks; one that returns False ends training after the running iteration.
            progress_bar: show stable-baselines3's progress bar.
            on_evaluation: called after each evaluation with it and what was logged.
            should_stop: asked after each iteration; True ends training.

        Raises:
            NonFiniteError: an environment returned a NaN or infinite value.
            DivergedError: a loss became NaN or infinite.
        """
        if total_timesteps is None:
            total_timesteps = max(0, self.config.training.total_steps - self.num_timesteps)
        if total_timesteps < 0:
            raise ValueError(f"total_timesteps must not be negative, got {total_timesteps}.")
        target = self.num_timesteps + total_timesteps
        from pearl.callbacks import init_callback

        callbacks = init_callback(self, callback, progress_bar)
        # stable-baselines3's progress bar counts from num_timesteps to the local of this name.
        callbacks.on_training_start({"total_timesteps": target, "self": self}, globals())
        begun, wall_before = time.perf_counter(), self.wall_s
        stopped = False

        def on_step(event: StepEvent) -> bool:
            nonlocal stopped
            callbacks.update_locals(
                {"dones": event.dones, "rewards": event.rewards, "infos": event.infos, "self": self}
            )
            stopped = stopped or not callbacks.on_step()
            return not stopped

        metrics: dict[str, float] = {}
        while True:
            self.wall_s = wall_before + time.perf_counter() - begun
            ending = stopped or self.num_timesteps >= target
            if self.num_timesteps >= self.next_evaluation or (ending and total_timesteps > 0):
                interval = self.config.evaluation.interval
                self.next_evaluation = (self.num_timesteps // interval + 1) * interval
                self._log_evaluation(metrics, on_evaluation)
            if ending or (should_stop is not None and should_stop()):
                break
            callbacks.on_rollout_start()
            metrics = self.training.iterate(on_step) or metrics
            callbacks.on_rollout_end()
        self.wall_s = wall_before + time.perf_counter() - begun
        callbacks.on_training_end()
        return self

    def evaluate(
        self,
        tasks: Sequence[Task] | None = None,
        *,
        episodes: int | None = None,
        exploration_episodes: int | None = None,
        seed: int | None = None,
        agent: MetaAgent[Any] | None = None,
    ) -> Evaluation:
        """Run the few-shot protocol: a fresh belief per task, the return of episode 1 to ``episodes``.

        Args:
            tasks: the held-out test tasks where None.
            episodes: per trial; the config's where None.
            exploration_episodes: episodes before the agent acts deterministically; the config's where None.
            seed: of the protocol's draws; one fixed by the model's seed where None, so that evaluations compare.
            agent: another agent under the same protocol; the model's own where None.
        """
        settings = self.config.evaluation
        seed = self._evaluation_seed if seed is None else seed
        tasks = self.test_tasks if tasks is None else tasks
        if tasks is self.test_tasks and self._references is None:
            self._references = measure_references(
                self.tasks, tasks, seed=self._evaluation_seed, workers=self.config.training.workers
            )
        return evaluate(
            self.agent if agent is None else agent,
            self.tasks,
            tasks,
            episodes=settings.episodes if episodes is None else episodes,
            exploration_episodes=settings.exploration_episodes
            if exploration_episodes is None
            else exploration_episodes,
            seed=seed,
            references=self._references if tasks is self.test_tasks else None,
            workers=self.config.training.workers,
        )

    def adapt(
        self,
        env: gym.Env[Any, Any],
        episodes: int = 2,
        *,
        exploration_episodes: int | None = None,
        seed: int | None = None,
    ) -> AdaptedPolicy:
        """Play ``episodes`` episodes of a new task and return the policy that comes of them.

        No gradient is taken but by the systems whose way of adapting it is (``agent.gradient_steps_per_trial``).

        Args:
            env: one task's environment, with the spaces of training. It is left open.
            episodes: episodes to play.
            exploration_episodes: episodes in which z and actions are sampled; the later ones are deterministic. All
                where None.
            seed: of the draws; the next of the model's own where None.

        Raises:
            ValueError: the spaces differ, no episodes, or a value that is not finite.
        """
        for role, own, found in (
            ("observation", self.observation_space, env.observation_space),
            ("action", self.action_space, env.action_space),
        ):
            if own != found:
                raise ValueError(
                    f"The environment's {role} space is {found}, the agent was trained on {own}. "
                    f"Give an environment of the family {self.family!r}, or wrap this one so that the spaces agree."
                )
        if seed is None:
            seed = int(torch.randint(2**31, (1,), generator=self._rng))
        return adapt(
            self.agent,
            env,
            episodes=episodes,
            horizon=self.horizon,
            seed=seed,
            exploration_episodes=exploration_episodes,
        )

    def session(self, *, seed: int | None = None) -> Session:
        """Start adapting one step at a time, for a loop that the user owns."""
        if seed is None:
            seed = int(torch.randint(2**31, (1,), generator=self._rng))
        return Session(self.agent, torch.Generator().manual_seed(seed))

    def predict(
        self,
        observation: NDArray[Any] | dict[str, NDArray[Any]],
        state: tuple[Any, ...] | None = None,
        episode_start: NDArray[Any] | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[Any], tuple[Any, ...] | None]:
        """Act on the prior, before any adaptation, by stable-baselines3's ``predict`` contract."""
        memory = self.agent.begin(1, self._rng)
        return AdaptedPolicy(self.agent, memory, self._rng).predict(observation, state, episode_start, deterministic)

    def save(self, path: str | Path, *, training_state: bool = True) -> None:
        """Write a checkpoint folder: safetensors and JSON, atomically.

        Args:
            path: the folder; an older checkpoint in it is replaced.
            training_state: also keep optimizer states and replay, so that learning can go on exactly.

        Raises:
            CheckpointError: the disk is full or not writable; the last good checkpoint stands.
            NonFiniteError: a weight is NaN or infinite; the last good checkpoint stands.
        """
        from pearl.persistence import save

        save(self, Path(path), training_state=training_state)

    def _log_evaluation(
        self, metrics: dict[str, float], on_evaluation: Callable[[Evaluation, dict[str, float]], None] | None
    ) -> None:
        evaluation = self.evaluate()
        values = {
            "env_steps": float(self.num_timesteps),
            "gradient_steps": float(self.training.gradient_steps),
            "wall_s": self.wall_s,
        }
        values |= {f"test/return_ep{n}": float(mean) for n, mean in enumerate(evaluation.return_per_episode, start=1)}
        if evaluation.score is not None and evaluation.score_ci95 is not None:
            values["test/score"] = evaluation.score
            values["test/score_low"], values["test/score_high"] = evaluation.score_ci95
        if evaluation.success_per_episode is not None:
            values |= {f"test/success_ep{n}": float(rate) for n, rate in enumerate(evaluation.success_per_episode, 1)}
        values |= self._posterior_figures(evaluation.memory)
        values |= {f"train/{name}": value for name, value in metrics.items()}
        if self.training.collection_s > 0:
            values["time/env_steps_per_s"] = self.num_timesteps / self.training.collection_s
        if self.training.learning_s > 0:
            values["time/gradient_steps_per_s"] = self.training.gradient_steps / self.training.learning_s
        for name, value in values.items():
            self.logger.record(name, value)
        self.logger.dump(self.num_timesteps)
        if on_evaluation is not None:
            on_evaluation(evaluation, values)

    def _posterior_figures(self, memory: Any) -> dict[str, float]:
        """Return what is logged of the test trials' posteriors; nothing where the agent has none."""
        return {}


class PEARL(MetaLearner):
    """A context-based meta-reinforcement learner: meta-train once, adapt to new tasks without a gradient.

    Args:
        family: a registered family's name, or a task distribution.
        config: settings; the family's preset where None.
        seed: of the tasks, the weights, and every later draw.
        tasks: training and test tasks; drawn from the family where None.

    Raises:
        UnknownFamilyError: no family of this name.
        TypeError, ValueError: the family's spaces are not supported, or its tasks cannot be told apart, or the settings
            are another system's.
        ConfigError: the device to learn on is not there, or the family cannot compute the rewards that are asked for.
        MemoryError: the replay would exceed its budget.
    """

    config: PEARLConfig
    agent: PEARLAgent
    training: ReplayTraining

    def __init__(
        self,
        family: str | TaskDistribution,
        config: PEARLConfig | None = None,
        *,
        seed: int = 0,
        tasks: tuple[Sequence[Task], Sequence[Task]] | None = None,
    ) -> None:
        if config is not None and not (isinstance(config, PEARLConfig) and learner_of(config) is PEARL):
            raise TypeError(f"PEARL takes a PEARLConfig, got a {type(config).__name__}, which pearl.MetaLearner takes.")
        if isinstance(family, str):
            family = make(family)
        super().__init__(family, load_preset(family_name(family)) if config is None else config, seed=seed, tasks=tasks)

    def _posterior_figures(self, memory: Any) -> dict[str, float]:
        with torch.no_grad():
            posterior = self.agent.posterior(memory)
        return {
            "test/posterior_stddev": float(posterior.stddev.mean()),
            "test/posterior_mean_spread": float(posterior.mean.std(0, correction=0).mean()),
        }


def learner_of(config: Config) -> Callable[..., MetaLearner]:
    """Return the class of models with such settings."""
    return PEARL if config.system == PEARLConfig.system else MetaLearner
