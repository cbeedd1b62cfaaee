"""The names by which stable-baselines3's callbacks and its users reach a model."""

from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pearl.adaptation.policy import AdaptedPolicy
from pearl.model.loading import load_model
from pearl.model.saving import SavedModel
from pearl.tasks import TaskDistribution

if TYPE_CHECKING:
    from stable_baselines3.common.logger import Logger

    from pearl.model.training_envs import TrainingEnvs

STATISTICS_WINDOW = 100
"""Episodes that ``ep_info_buffer`` holds, as in stable-baselines3"""

_ELSEWHERE = {
    "Settings are in model.config (model.config.agent, model.config.training), fixed when the model is made": (
        "action_noise batch_size buffer_size clip_range clip_range_vf ent_coef gae_lambda gamma gradient_steps "
        "learning_rate learning_starts lr_schedule max_grad_norm n_epochs n_steps normalize_advantage "
        "optimize_memory_usage policy_aliases policy_kwargs sde_sample_freq target_entropy target_kl "
        "target_update_interval tau train_freq use_sde use_sde_at_warmup vf_coef"
    ),
    "The networks and their optimizer are parts of model.policy, which is model.agent": (
        "actor batch_norm_stats batch_norm_stats_target critic critic_target ent_coef_optimizer log_ent_coef "
        "policy_class"
    ),
    "Weights are read by model.policy.state_dict() and set by model.policy.load_state_dict()": (
        "get_parameters set_parameters"
    ),
    "model.save keeps what was collected (model.training.replay), and pearl.load brings it back": (
        "load_replay_buffer replay_buffer replay_buffer_class replay_buffer_kwargs rollout_buffer "
        "rollout_buffer_class rollout_buffer_kwargs save_replay_buffer"
    ),
    "model.training.iterate() collects trials and learns from them": "collect_rollouts train",
    "A model trains on its tasks' environments: give the tasks or a TaskDistribution when it is made, and "
    "model.adapt(env) to learn a new environment": "set_env",
    "Everything follows from the argument seed of the model": "set_random_seed",
    "Set where to log by model.set_logger(stable_baselines3.common.logger.configure(folder, ['tensorboard']))": (
        "tensorboard_log verbose"
    ),
    "Seconds of training are in model.wall_s": "start_time",
}
_WHERE = {name: where for where, names in _ELSEWHERE.items() for name in names.split()}


class SB3Interface(SavedModel):
    """Base class: the attributes that stable-baselines3's callbacks, loggers and evaluation read.

    A public name of its algorithms that has no meaning here is an AttributeError that says what takes its place.
    """

    logger: "Logger"

    def __init__(self) -> None:
        from pearl.model.callbacks import silent_logger  # stable-baselines3 takes as long to import as all of pearl

        self.logger = silent_logger()
        self.ep_info_buffer: deque[dict[str, Any]] = deque(maxlen=STATISTICS_WINDOW)
        """The newest training episodes: return ``"r"``, length ``"l"`` in steps, seconds ``"t"`` into ``learn``"""
        self.ep_success_buffer: deque[bool] = deque(maxlen=STATISTICS_WINDOW)
        """Whether the newest training episodes that told it ended in success"""

    if not TYPE_CHECKING:  # A name that does not exist stays an error to type checkers.

        def __getattr__(self, name: str) -> Any:
            where = f" as in stable-baselines3. {_WHERE[name]}." if name in _WHERE else "."
            raise AttributeError(f"A {type(self).__name__} has no attribute {name!r}{where}")

    @property
    def num_timesteps(self) -> int:
        """Environment steps taken in meta-training."""
        return self.training.env_steps

    @property
    def policy(self) -> nn.Module:
        """The agent: a module that holds every network that is trained."""
        return cast(nn.Module, self.agent)

    @property
    def device(self) -> torch.device:
        """Device on which the policy acts: the CPU, even if it learns on a GPU (``training.device``)."""
        return next(self.policy.parameters()).device

    @property
    def n_envs(self) -> int:
        """Training tasks, each with its environment."""
        return len(self.training.tasks)

    @property
    def env(self) -> "TrainingEnvs":
        """The training tasks' environments."""
        return self.get_env()

    def get_env(self) -> "TrainingEnvs":
        """Return the training tasks' environments, to be asked and changed but not stepped."""
        from pearl.model.training_envs import TrainingEnvs

        return TrainingEnvs(self.training, self.observation_space, self.action_space)

    def get_vec_normalize_env(self) -> None:
        """Return None: no wrapper normalises observations."""

    def set_logger(self, logger: "Logger") -> None:
        """Log to ``logger``, which stable-baselines3's ``configure`` makes."""
        self.logger = logger

    def dump_logs(self) -> None:
        """Write what was recorded in the logger, with the means of ``ep_info_buffer`` and ``ep_success_buffer``."""
        if self.ep_info_buffer:
            self.logger.record("rollout/ep_rew_mean", float(np.mean([episode["r"] for episode in self.ep_info_buffer])))
            self.logger.record("rollout/ep_len_mean", float(np.mean([episode["l"] for episode in self.ep_info_buffer])))
        if self.ep_success_buffer:
            self.logger.record("rollout/success_rate", float(np.mean(self.ep_success_buffer)))
        self.logger.dump(self.num_timesteps)

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

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        distribution: TaskDistribution | None = None,
        device: Literal["cpu", "cuda"] | None = None,
        z_follows_posterior: bool | None = None,
    ) -> Self:
        """Load a model from a checkpoint folder or from a run folder that holds one.

        Args:
            path: what ``model.save`` or ``train.py`` wrote; ``~`` is the home.
            distribution: the task distribution, where the family is not a registered one.
            device: replaces ``training.device``: where the model is to learn on. A model acts on the CPU wherever
                it learns, and to act alone "cpu" will do for every model.
            z_follows_posterior: replaces ``agent.z_follows_posterior``: whether acting uses what an episode shows
                within that episode already. It needs no other training.

        Returns:
            A ``PEARL``, or a ``MetaLearner`` where another algorithm was trained.

        Raises:
            ConfigError: the device to learn on is not there, or no GPU can learn with the model's settings or its
                algorithm; an algorithm without z.
            CheckpointError: no checkpoint there, or one that is truncated, altered, foreign, newer or carries a pickle;
                it holds a model of another class than the one that loads it; it was trained on a family that is not
                registered, or on other spaces; a weight is NaN or infinite.
            ImportError: the family needs a package that is not installed.
            TypeError, ValueError: ``path`` is empty or no path, or ``distribution`` is no task distribution.
        """
        return load_model(cls, path, distribution=distribution, device=device, z_follows_posterior=z_follows_posterior)
