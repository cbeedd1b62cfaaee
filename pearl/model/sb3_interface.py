"""The attributes of stable-baselines3's algorithms that a model provides."""

from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pearl.adaptation.policy import AdaptedPolicy
from pearl.model.adapting import AdaptingModel
from pearl.model.loading import load_model
from pearl.tasks import TaskDistribution

if TYPE_CHECKING:
    from stable_baselines3.common.logger import Logger

    from pearl.model.training_envs import TrainingEnvs

STATISTICS_WINDOW = 100
"""Length of ``ep_info_buffer`` in episodes, as in stable-baselines3"""

_ELSEWHERE = {
    "Settings are in model.config (model.config.agent, model.config.training); they are fixed when the model is made": (
        "action_noise batch_size buffer_size clip_range clip_range_vf ent_coef gae_lambda gamma gradient_steps "
        "learning_rate learning_starts lr_schedule max_grad_norm n_epochs n_steps normalize_advantage "
        "optimize_memory_usage policy_aliases policy_kwargs sde_sample_freq target_entropy target_kl "
        "target_update_interval tau train_freq use_sde use_sde_at_warmup vf_coef"
    ),
    "The networks and their optimizer are parts of model.policy, which is model.agent": (
        "actor batch_norm_stats batch_norm_stats_target critic critic_target ent_coef_optimizer log_ent_coef "
        "policy_class"
    ),
    "Use model.policy.state_dict() to read weights and model.policy.load_state_dict() to set them": (
        "get_parameters set_parameters"
    ),
    "model.save saves the replay (model.training.replay), and pearl.load restores it": (
        "load_replay_buffer replay_buffer replay_buffer_class replay_buffer_kwargs rollout_buffer "
        "rollout_buffer_class rollout_buffer_kwargs save_replay_buffer"
    ),
    "model.training.iterate() collects trials and learns from them": "collect_rollouts train",
    "A model trains on its tasks' environments: give the tasks or a TaskDistribution when it is made, and "
    "model.adapt(env) to learn a new environment": "set_env",
    "The model's argument seed determines all draws": "set_random_seed",
    "Choose the logs by model.set_logger(stable_baselines3.common.logger.configure(folder, ['tensorboard']))": (
        "tensorboard_log verbose"
    ),
    "The seconds of training are in model.wall_s": "start_time",
}
_WHERE = {name: where for where, names in _ELSEWHERE.items() for name in names.split()}


class SB3Interface(AdaptingModel):
    """Base class: the attributes that stable-baselines3's callbacks, loggers and evaluation read.

    A public attribute of its algorithms that does not exist here raises an AttributeError that names the replacement.
    """

    logger: "Logger"

    def __init__(self) -> None:
        from pearl.model.callbacks import silent_logger  # a slow import: as long as all of pearl

        self.logger = silent_logger()
        self.ep_info_buffer: deque[dict[str, Any]] = deque(maxlen=STATISTICS_WINDOW)
        """The latest training episodes: return ``"r"``, length ``"l"`` in steps, seconds ``"t"`` into ``learn``"""
        self.ep_success_buffer: deque[bool] = deque(maxlen=STATISTICS_WINDOW)
        """Success of the latest training episodes that reported it"""

    if not TYPE_CHECKING:  # Type checkers still report unknown attributes.

        def __getattr__(self, name: str) -> Any:
            where = f" as in stable-baselines3. {_WHERE[name]}." if name in _WHERE else "."
            raise AttributeError(f"A {type(self).__name__} has no attribute {name!r}{where}")

    @property
    def num_timesteps(self) -> int:
        """Environment steps taken in meta-training."""
        return self.training.env_steps

    @property
    def policy(self) -> nn.Module:
        """The agent: a module with all trained networks."""
        return cast(nn.Module, self.agent)

    @property
    def device(self) -> torch.device:
        """Device of the policy when it acts: the CPU, even if training uses a GPU (``training.device``)."""
        return next(self.policy.parameters()).device

    @property
    def n_envs(self) -> int:
        """Number of training tasks, each with one environment."""
        return len(self.training.tasks)

    @property
    def env(self) -> "TrainingEnvs":
        """The training tasks' environments."""
        return self.get_env()

    def get_env(self) -> "TrainingEnvs":
        """Return the training tasks' environments. Callers may read and change them, but not step them."""
        from pearl.model.training_envs import TrainingEnvs

        return TrainingEnvs(self.training, self.observation_space, self.action_space)

    def get_vec_normalize_env(self) -> None:
        """Return None: no wrapper normalises observations."""

    def set_logger(self, logger: "Logger") -> None:
        """Log to ``logger``, made by stable-baselines3's ``configure``."""
        self.logger = logger

    def dump_logs(self) -> None:
        """Write the logger's recorded values, and the means of ``ep_info_buffer`` and ``ep_success_buffer``."""
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
        """Act on the prior, without adaptation; arguments and result are as in stable-baselines3."""
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
        """Load a model from a checkpoint folder or from a run folder that contains one.

        Args:
            path: a folder that ``model.save`` or ``train.py`` wrote; ``~`` is the home.
            distribution: the task distribution; needed if the family is not registered.
            device: device of further training, instead of ``training.device``. Every model acts on the CPU, so "cpu"
                is enough for a model that only acts.
            z_follows_posterior: replaces ``agent.exploration.z_follows_posterior``: whether z follows the posterior
                within an episode. No retraining is needed.

        Returns:
            A ``PEARL``, or a ``MetaLearner`` if another algorithm was trained.

        Raises:
            ConfigError: the device is missing, the algorithm or the settings do not support a GPU, or the algorithm
                has no z to follow the posterior.
            CheckpointError: the checkpoint is missing, truncated, altered, foreign, newer or contains a pickle; its
                model has another class; its family is not registered or now has other spaces; a weight is NaN or
                infinite.
            ImportError: the family needs a package that is not installed.
            TypeError, ValueError: ``path`` is empty or not a path, or ``distribution`` is not a task distribution.
        """
        return load_model(cls, path, distribution=distribution, device=device, z_follows_posterior=z_follows_posterior)
