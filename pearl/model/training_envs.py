"""The training tasks' environments, as stable-baselines3's callbacks see them."""

from collections.abc import Sequence
from typing import Any, NoReturn

import gymnasium as gym
from stable_baselines3.common.env_util import is_wrapped
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices

from pearl.training.base import MetaTraining


class TrainingEnvs(VecEnv):
    """The training tasks' environments: callers can read and set their attributes and call their methods.

    Only training steps and resets them. Access needs environments that live in this process for the whole training;
    otherwise the error names the alternative.

    Args:
        training: the owner of the environments.
        observation_space: observation space of one task.
        action_space: action space of one task.
    """

    def __init__(
        self, training: MetaTraining[Any, Any], observation_space: gym.Space[Any], action_space: gym.Space[Any]
    ) -> None:
        # Not the parent's constructor: it reads the environments' render mode, which would build them.
        self._training = training
        self.num_envs = len(training.tasks)
        self.observation_space, self.action_space = observation_space, action_space
        self.reset_infos: list[dict[str, Any]] = [{} for _ in training.tasks]
        self.render_mode = None
        self.metadata = {"render_modes": []}

    @property
    def envs(self) -> list[gym.Env[Any, Any]]:
        """The environments, (task,).

        Raises:
            NotImplementedError: they live for one iteration only or in worker processes, or one object steps them all.
        """
        settings = self._training.config.training
        if (settings.tasks_per_iteration or self.num_envs) < self.num_envs:
            raise NotImplementedError(
                f"With training.tasks_per_iteration={settings.tasks_per_iteration}, environments live for one "
                "iteration. Change the task distribution (model.task_distribution) instead: its make_env builds them."
            )
        if settings.workers > 0:
            raise NotImplementedError(
                f"With training.workers={settings.workers}, environments live in other processes. Set training.workers "
                "to 0 for access to them."
            )
        together = self._training.envs.unwrapped
        envs = getattr(together, "envs", None)
        if not isinstance(envs, list | tuple) or len(envs) != self.num_envs:
            raise NotImplementedError(
                f"The family steps its tasks in one {type(together).__name__}, without an environment per task. "
                "Use that object: model.training.envs."
            )
        return list(envs)

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Return an attribute of each environment, or of those at ``indices``; wrappers are searched too.

        Raises:
            AttributeError: an environment lacks the attribute.
            NotImplementedError: as from ``envs``.
        """
        return [env.get_wrapper_attr(attr_name) for env in self._chosen(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Set an attribute where ``get_attr`` finds it, else in the innermost environment.

        Raises:
            NotImplementedError: as from ``envs``.
        """
        for env in self._chosen(indices):
            if env.has_wrapper_attr(attr_name):
                env.set_wrapper_attr(attr_name, value)
            else:
                setattr(env.unwrapped, attr_name, value)

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **method_kwargs: Any
    ) -> list[Any]:
        """Call a method of each environment, or of those at ``indices``, and return the results.

        Raises:
            AttributeError: an environment lacks the method.
            NotImplementedError: as from ``envs``.
        """
        return [env.get_wrapper_attr(method_name)(*method_args, **method_kwargs) for env in self._chosen(indices)]

    def env_is_wrapped(self, wrapper_class: type[gym.Wrapper[Any, Any, Any, Any]], indices: Any = None) -> list[bool]:
        """Return whether each environment is wrapped in a ``wrapper_class``.

        Raises:
            NotImplementedError: as from ``envs``.
        """
        return [is_wrapped(env, wrapper_class) for env in self._chosen(indices)]

    def close(self) -> None:
        """Close the environments; further training builds new ones."""
        self._training.close_envs()

    def reset(self) -> NoReturn:
        """Refuse."""
        self._refuse("reset")

    def step_async(self, actions: Any) -> NoReturn:
        """Refuse."""
        self._refuse("step")

    def step_wait(self) -> NoReturn:
        """Refuse."""
        self._refuse("step")

    def seed(self, seed: int | None = None) -> NoReturn:
        """Refuse."""
        self._refuse("seed")

    def set_options(self, options: Any = None) -> NoReturn:
        """Refuse."""
        self._refuse("set options of")

    def get_images(self) -> NoReturn:
        """Refuse."""
        self._refuse("render")

    def render(self, mode: str | None = None) -> NoReturn:
        """Refuse."""
        self._refuse("render")

    def _refuse(self, what: str) -> NoReturn:
        raise NotImplementedError(
            f"Only training may {what} its environments: it must see every transition. Make an environment of your own "
            "by model.task_distribution.make_env(task). Evaluate by model.evaluate(), or by "
            "evaluate_policy(model.adapt(env), env)."
        )

    def _chosen(self, indices: VecEnvIndices) -> Sequence[gym.Env[Any, Any]]:
        envs = self.envs
        return [envs[index] for index in self._get_indices(indices)]
