"""The public models: meta-train, evaluate, adapt, save."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch

from agents import MetaAgent, PEARLAgent
from agents.spaces import is_discrete
from pearl.algorithms import find_algorithm, limit_evidence
from pearl.config.run import Config, PEARLConfig, load_preset
from pearl.evaluation.diagnosis import Finding, diagnose, diagnosis_lines
from pearl.evaluation.protocol import Evaluation, References, check_disjoint, evaluate, measure_references
from pearl.evaluation.rare_rewards import rare_and_computable
from pearl.model import arguments
from pearl.model.figures import posterior_figures, training_figures
from pearl.model.saving import save
from pearl.model.sb3_interface import SB3Interface
from pearl.tasks import Task, TaskDistribution, family_name, time_limit
from pearl.tasks.arguments import check_tasks, family_of
from pearl.tasks.transforms.drifting import drifts
from pearl.training.off_policy import ReplayTraining

if TYPE_CHECKING:
    from pearl.model.callbacks import Callback


class MetaLearner(SB3Interface):
    """A meta-reinforcement learner: meta-train once, then learn new tasks within a few episodes.

    Args:
        family: a registered family's name, or a task distribution.
        config: settings; their class decides the algorithm: ``pearl.preset(pearl.RL2Config, "point-robot")``.
        seed: seed of the tasks, the weights and all later draws.
        tasks: training and test tasks; drawn from the family if None.

    Raises:
        UnknownFamilyError: no family has this name.
        TypeError, ValueError: an argument has the wrong type, a list of tasks is empty, two tasks are equal, or a space
            is not supported.
        ConfigError: the seed is negative, the device for learning is missing, or the settings need rewards that the
            family cannot compute.
        ImportError: the family needs a package that is not installed.
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
        super().__init__()
        distribution = family_of(family)
        self.family = family_name(distribution)
        self.config = arguments.check_config(config)
        self.seed = seed = arguments.model_seed(seed)
        algorithm = find_algorithm(config.algorithm)
        self.task_distribution = algorithm.distribution(distribution)
        task_seed, weight_seed, training_seed, self._acting_seed, self._evaluation_seed = (
            int(word) for word in np.random.SeedSequence(seed).generate_state(5)
        )
        if tasks is None:
            tasks = arguments.drawn_tasks(self.task_distribution, config, task_seed)
        self.train_tasks, self.test_tasks = arguments.task_split(tasks)
        if not self.task_distribution.same_tasks:
            check_disjoint(self.train_tasks, self.test_tasks)
        env = self.task_distribution.make_env(self.train_tasks[0])
        self.observation_space, self.action_space = env.observation_space, env.action_space
        self.horizon = time_limit(env, f"The environments of {self.family!r} have")
        env.close()
        self.config = config = self.filled(config)
        weight_rng = torch.Generator().manual_seed(weight_seed)
        self.agent = algorithm.make_agent(self.observation_space, self.action_space, config, weight_rng)
        limit_evidence(self.agent, config, self.horizon)
        self.training = algorithm.training(self.agent, self.task_distribution, self.train_tasks, config, training_seed)
        self.wall_s = 0.0
        self.next_evaluation = 0
        self._rng = torch.Generator().manual_seed(self._acting_seed)
        self._references: References | None = None
        self.change_detector = self.familiarity = None

    def filled(self, config: Config) -> Config:
        """Return settings with what follows from the model's tasks filled in, where it is not set."""
        return config.for_tasks(
            self.horizon,
            drifting=drifts(self.task_distribution),
            continuous=not is_discrete(self.action_space),
            rare_rewards=self._rewards_are_rare,
        )

    def _rewards_are_rare(self) -> bool:
        """Return whether the family can compute rewards that random episodes of training tasks hardly meet."""
        training = self.config.training
        return rare_and_computable(
            self.task_distribution,
            self.train_tasks,
            seed=self._acting_seed,
            workers=training.workers,
            worker_timeout_s=training.worker_timeout_s,
        )

    @staticmethod
    def class_of(config: Config) -> "type[MetaLearner]":
        """Return the class of models with these settings."""
        return PEARL if config.algorithm == PEARLConfig.algorithm else MetaLearner

    def learn(
        self,
        total_timesteps: int | None = None,
        callback: "Callback" = None,
        log_interval: int | None = None,
        tb_log_name: str = "run",
        reset_num_timesteps: bool = False,
        progress_bar: bool = False,
        *,
        on_evaluation: Callable[[Evaluation, dict[str, float]], None] | None = None,
        should_stop: Callable[[], bool] | None = None,
        verbose: int = 0,
    ) -> Self:
        """Meta-train for ``total_timesteps`` more environment steps, with regular evaluations on held-out tasks.

        Training consists of whole iterations. It ends after the iteration that reaches that many steps.

        Args:
            total_timesteps: environment steps, 1e6 is accepted; the rest of ``training.total_steps`` if None.
            callback: stable-baselines3 callbacks. If one returns False, the running trials end at once; training ends
                after learning from them.
            log_interval: ``dump_logs`` is called after every so many finished episodes; only at evaluations if None.
            tb_log_name: the model's name in callbacks' messages. The logger decides where TensorBoard's files go.
            reset_num_timesteps: whether to count from 0; True is allowed only for a model that has not trained.
            progress_bar: whether to show stable-baselines3's progress bar.
            on_evaluation: called after each evaluation with the evaluation and the logged values.
            should_stop: called after each iteration; training ends if it returns True.
            verbose: 1 prints the steps of an iteration, a line for each evaluation, and ``diagnose`` at the end.

        Raises:
            ConfigError: ``total_timesteps`` is not a whole number, or is negative.
            NonFiniteError: an environment returned a NaN or infinite value.
            DivergedError: a loss became NaN or infinite.
            TypeError: ``log_interval`` is not a number.
            ValueError: ``log_interval`` is not positive, a trained model is reset, or a callback is not supported.
        """
        left = max(0, self.config.training.total_steps - self.num_timesteps)
        total_timesteps = arguments.environment_steps(left if total_timesteps is None else total_timesteps)
        target = self.num_timesteps + total_timesteps
        from pearl.model.callbacks import TrainingCallbacks

        callbacks = TrainingCallbacks(
            self,
            callback,
            target,
            log_interval=log_interval,
            tb_log_name=tb_log_name,
            reset_num_timesteps=reset_num_timesteps,
            progress_bar=progress_bar,
        )
        if verbose and total_timesteps > 0:
            print(self.training.iteration_line(self.horizon))
        begun, wall_before = time.perf_counter(), self.wall_s
        metrics: dict[str, float] = {}
        while True:
            self.wall_s = wall_before + time.perf_counter() - begun
            ending = callbacks.stopped or self.num_timesteps >= target
            if self.num_timesteps >= self.next_evaluation or (ending and total_timesteps > 0):
                due, interval = self.next_evaluation, self.config.evaluation.interval
                self.next_evaluation = (self.num_timesteps // interval + 1) * interval
                try:
                    self._log_evaluation(metrics, on_evaluation, verbose=verbose)
                except BaseException:  # After Ctrl-C too, the evaluation is still due.
                    self.next_evaluation = due
                    raise
            if ending or (should_stop is not None and should_stop()):
                break
            callbacks.start_rollout()
            self.change_detector = self.familiarity = None  # They read beliefs of the agent as it was.
            metrics = self.training.iterate(callbacks.step) or metrics
            callbacks.end_rollout()
        self.wall_s = wall_before + time.perf_counter() - begun
        callbacks.end()
        if verbose and total_timesteps > 0:
            print("\n".join(diagnosis_lines(self.diagnose())))
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
        """Run the few-shot protocol: each task starts from the prior, and each episode's return is measured.

        Args:
            tasks: tasks to evaluate on; the held-out test tasks if None.
            episodes: episodes per trial; the config's if None.
            exploration_episodes: episodes before the agent acts deterministically; the config's if None.
            seed: seed of the protocol's draws. If None, it follows from the model's seed, so evaluations are
                comparable.
            agent: another agent to evaluate; the model's own if None.

        Raises:
            TypeError, ValueError: an argument has the wrong type, a number is out of range, or there are no tasks.
        """
        settings = self.config.evaluation
        seed = arguments.whole_number(seed, "seed", default=self._evaluation_seed)
        workers, timeout_s = self.config.training.workers, self.config.training.worker_timeout_s
        if tasks is not self.test_tasks:  # References are cached for this list only.
            tasks = self.test_tasks if tasks is None else check_tasks(tasks, "tasks")
        if tasks is self.test_tasks and self._references is None:
            self._references = measure_references(
                self.task_distribution, tasks, seed=self._evaluation_seed, workers=workers, worker_timeout_s=timeout_s
            )
        return evaluate(
            self.agent if agent is None else arguments.check_agent(agent),
            self.task_distribution,
            tasks,
            episodes=arguments.whole_number(episodes, "episodes", least=1, default=settings.episodes),
            exploration_episodes=arguments.whole_number(
                exploration_episodes, "exploration_episodes", default=settings.exploration_episodes
            ),
            seed=seed,
            references=self._references if tasks is self.test_tasks else None,
            workers=workers,
            worker_timeout_s=timeout_s,
        )

    def diagnose(self, evaluation: Evaluation | None = None) -> list[Finding]:
        """Return signs that the agent does not use what it infers, or that learning went wrong; none if all is well.

        Args:
            evaluation: of the test tasks by the agent as it is; made if None.
        """
        training = self.config.training
        return diagnose(
            self.agent,
            self.task_distribution,
            self.test_tasks,
            self.evaluate() if evaluation is None else evaluation,
            training=training,
            gradient_steps=self.training.gradient_steps,
            metrics=self.training.metrics,
            seed=self._evaluation_seed,
            workers=training.workers,
            worker_timeout_s=training.worker_timeout_s,
        )

    def save(self, path: str | Path, *, training_state: bool = True) -> None:
        """Write a checkpoint folder: safetensors and JSON, atomically.

        Args:
            path: the folder; ``~`` is the home. An older checkpoint in it is replaced.
            training_state: whether to save optimizer states and replay, so that training can resume exactly.

        Raises:
            CheckpointError: the disk is full or the folder not writable; an older checkpoint there is kept.
            NonFiniteError: a weight is NaN or infinite; an older checkpoint there is kept.
            ValueError: ``path`` is empty.
        """
        save(self, arguments.folder_path(path), training_state=training_state)

    def _log_evaluation(
        self,
        metrics: dict[str, float],
        on_evaluation: Callable[[Evaluation, dict[str, float]], None] | None,
        *,
        verbose: int,
    ) -> None:
        evaluation = self.evaluate()
        if verbose:
            print(f"{self.num_timesteps:,} environment steps: {evaluation.line()}")
        posterior = posterior_figures(self.agent, evaluation.memory) if isinstance(self, PEARL) else {}
        values = evaluation.figures() | posterior | training_figures(self.training, self.wall_s, metrics)
        for name, value in values.items():
            self.logger.record(name, value)
        self.logger.dump(self.num_timesteps)
        if on_evaluation is not None:
            on_evaluation(evaluation, values)


class PEARL(MetaLearner):
    """A context-based meta-reinforcement learner: meta-train once, adapt to new tasks without a gradient.

    Args:
        family: a registered family's name, or a task distribution.
        config: settings; the family's preset if None.
        seed: seed of the tasks, the weights and all later draws.
        tasks: training and test tasks; drawn from the family if None.

    Raises:
        TypeError: the settings belong to another algorithm.
        Exception: as from ``MetaLearner``.
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
        if isinstance(config, Config) and learner_of(config) is not PEARL:
            raise TypeError(f"PEARL takes a PEARLConfig, got a {type(config).__name__}. Use pearl.MetaLearner for it.")
        family = family_of(family)
        super().__init__(family, load_preset(family_name(family)) if config is None else config, seed=seed, tasks=tasks)


learner_of = MetaLearner.class_of
load = MetaLearner.load
