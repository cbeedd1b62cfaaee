"""Support for stable-baselines3's callbacks and logger."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.callbacks import (
    BaseCallback,
    CallbackList,
    ConvertCallback,
    EvalCallback,
    EventCallback,
    ProgressBarCallback,
)
from stable_baselines3.common.logger import Logger

from pearl.collection.rollout import StepEvent

Callback = BaseCallback | list[BaseCallback] | Callable[[dict[str, Any], dict[str, Any]], bool] | None
"""Argument ``callback`` of ``learn``: callbacks, or a function of (locals, globals) that returns False to stop"""


def silent_logger() -> Logger:
    """Return a logger that writes nowhere."""
    return Logger(folder=None, output_formats=[])


class TrainingCallbacks:
    """Calls the callbacks of one ``learn`` in the same order as stable-baselines3's algorithms.

    Args:
        model: the model that learns.
        callback: the argument of ``learn``.
        total_timesteps: environment steps at which training ends, including those of earlier calls.
        log_interval: ``model.dump_logs`` is called after every so many finished episodes; never if None.
        tb_log_name: the model's name in callbacks' messages.
        reset_num_timesteps: True is allowed only for a model that has not trained.
        progress_bar: whether to show stable-baselines3's progress bar.

    Raises:
        TypeError: ``log_interval`` is not a whole number.
        ValueError: ``log_interval`` is not positive, ``reset_num_timesteps`` is True although the model has trained,
            or a callback has a setting that is not supported.
    """

    def __init__(
        self,
        model: Any,
        callback: Callback,
        total_timesteps: int,
        *,
        log_interval: int | None = None,
        tb_log_name: str = "run",
        reset_num_timesteps: bool = False,
        progress_bar: bool = False,
    ) -> None:
        _check_log_interval(log_interval)
        if reset_num_timesteps and model.num_timesteps > 0:
            raise ValueError(
                f"The model has trained for {model.num_timesteps} environment steps. Its replay, schedules and "
                "checkpoints count from its first step, so reset_num_timesteps=True is not possible. Leave it out to "
                "train further, or make a new model."
            )
        self.stopped = False
        self._model = model
        self._log_interval = log_interval
        self._episodes = _Episodes()
        self._n_episodes = 0
        self._callback = init_callback(model, callback, progress_bar)
        self._locals = _Locals(
            {
                "self": model,
                "env": model.get_env(),
                "callback": self._callback,
                "total_timesteps": total_timesteps,  # The progress bar counts from num_timesteps to this.
                "log_interval": log_interval,
                "tb_log_name": tb_log_name,
                "reset_num_timesteps": reset_num_timesteps,
                "progress_bar": progress_bar,
            }
        )
        self._callback.on_training_start(self._locals, globals())

    def start_rollout(self) -> None:
        """Begin an iteration's collection."""
        self._episodes.begin()
        self._callback.on_rollout_start()

    def step(self, event: StepEvent) -> bool:
        """Pass a step of all tasks to the callbacks; return whether to continue."""
        self._episodes.count(event)
        self._locals.tell(event, self._episodes)
        self._callback.update_locals(self._locals)
        self.stopped = not self._callback.on_step()
        if event.dones.any():
            self._note(event.dones, self._locals["infos"])
        return not self.stopped

    def end_rollout(self) -> None:
        """End an iteration."""
        self._callback.on_rollout_end()

    def end(self) -> None:
        """End training."""
        self._callback.on_training_end()

    def _note(self, dones: NDArray[np.bool_], infos: list[dict[str, Any]]) -> None:
        for row in np.flatnonzero(dones).tolist():
            info = infos[row]
            if _is_statistics(info["episode"]):
                self._model.ep_info_buffer.append(info["episode"])
            success = info.get("success", info.get("is_success"))
            if success is not None:
                self._model.ep_success_buffer.append(success)
            self._n_episodes += 1
            if self._log_interval is not None and self._n_episodes % self._log_interval == 0:
                self._model.dump_logs()


def init_callback(model: Any, callback: Callback, progress_bar: bool) -> BaseCallback:
    """Combine the callbacks into one and bind it to ``model``.

    Raises:
        ValueError: a callback has a setting that is not supported; the message names an alternative.
    """
    if isinstance(callback, list):
        callback = CallbackList(callback)
    elif not isinstance(callback, BaseCallback):
        callback = ConvertCallback(callback)
    if progress_bar:
        callback = CallbackList([callback, _ProgressBar()])
    for each in _all(callback):
        _check_wandb(each, model)
        if type(each) is ProgressBarCallback:
            each.__class__ = _ProgressBar  # The original also counts steps of idle tasks.
    callback.init_callback(model)
    return callback


class _Episodes:
    """Adds the entries of stable-baselines3's ``Monitor`` and vector environments to infos."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self.begin()

    def begin(self) -> None:
        """Begin new trials, possibly of other tasks."""
        self._returns: NDArray[np.float64] | float = 0.0
        self._lengths: NDArray[np.int64] | int = 0

    def count(self, event: StepEvent) -> None:
        """Count a step of all tasks."""
        self._returns = returns = self._returns + np.where(event.active, event.rewards, 0.0)
        self._lengths = lengths = self._lengths + event.active.astype(np.int64)
        self._ended: dict[int, dict[str, float]] = {}
        for row in np.flatnonzero(event.dones).tolist():
            seconds = round(time.perf_counter() - self._began, 6)
            self._ended[row] = {"r": float(returns[row]), "l": int(lengths[row]), "t": seconds}
            returns[row], lengths[row] = 0.0, 0

    def infos(self, event: StepEvent) -> list[dict[str, Any]]:
        """Return each task's info after the last counted step; idle tasks have an empty one."""
        infos = [
            info | {"TimeLimit.truncated": truncated} if active else {}
            for info, truncated, active in zip(
                event.infos, event.truncated.tolist(), event.active.tolist(), strict=True
            )
        ]
        for row, episode in self._ended.items():
            infos[row].setdefault("episode", episode)
        return infos


class _Locals(dict[str, Any]):
    """The local variables of stable-baselines3's algorithms that exist here too.

    ``infos`` is built only when a callback reads it: it takes as long as a step of the fastest tasks.
    """

    _step: tuple[StepEvent, _Episodes] | None = None

    def tell(self, event: StepEvent, episodes: _Episodes) -> None:
        """Store the results of a step of all tasks."""
        self._step = event, episodes
        self.pop("infos", None)
        self.update(rewards=np.where(event.active, event.rewards, 0.0), dones=event.dones)

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or (name == "infos" and self._step is not None)

    def get(self, name: str, default: Any = None) -> Any:
        """Return a local variable, or ``default`` if there is none of this name."""
        return self[name] if name == "infos" and name in self else super().get(name, default)

    def __missing__(self, name: str) -> Any:
        if name == "infos" and self._step is not None:
            event, episodes = self._step
            self["infos"] = infos = episodes.infos(event)
            return infos
        raise KeyError(
            f"locals[{name!r}]: a pearl model has {', '.join(sorted({*self, 'infos'}))}. "
            "After an iteration, its transitions are in locals['self'].training.replay."
        )


class _ProgressBar(ProgressBarCallback):
    """Counts the environment steps taken; idle and unchosen tasks take none."""

    def _on_training_start(self) -> None:
        super()._on_training_start()
        self._shown = self.num_timesteps

    def _on_step(self) -> bool:
        self.pbar.update(self.num_timesteps - self._shown)
        self._shown = self.num_timesteps
        return True


def _all(callback: BaseCallback) -> Iterator[BaseCallback]:
    """Yield a callback and all callbacks nested in it."""
    yield callback
    within = list(callback.callbacks) if isinstance(callback, CallbackList) else []
    within += [callback.callback] if isinstance(callback, EventCallback) and callback.callback is not None else []
    if isinstance(callback, EvalCallback) and callback.callback_on_new_best is not None:
        within.append(callback.callback_on_new_best)
    for each in within:
        yield from _all(each)


def _check_wandb(callback: BaseCallback, model: Any) -> None:
    """Refuse settings of Weights & Biases' callback that would silently have no effect."""
    if "WandbCallback" not in [kind.__name__ for kind in type(callback).__mro__]:
        return
    if getattr(callback, "model_save_path", None) is not None:
        raise ValueError(
            "WandbCallback(model_save_path=...) uploads one file, but a pearl checkpoint is a folder. Save it by "
            "model.save(folder) and upload it by artifact.add_dir(folder), or train with pearl.run.Run or train.py, "
            "which upload it."
        )
    device = getattr(model.config.training, "device", "cpu")
    if getattr(callback, "gradient_save_freq", 0) > 0 and device != "cpu":
        raise ValueError(
            f"WandbCallback(gradient_save_freq=...) sees no gradients with training.device={device!r}: a copy of the "
            "policy learns there. Leave it out, or set training.device to 'cpu'."
        )


def _check_log_interval(log_interval: Any) -> None:
    if log_interval is None:
        return
    if isinstance(log_interval, bool) or not isinstance(log_interval, int | np.integer):
        raise TypeError(
            f"log_interval must be a number of episodes or None, got {log_interval!r}. It is the third argument of "
            "learn, as in stable-baselines3. Pass the progress bar by name: progress_bar=True."
        )
    if log_interval < 1:
        raise ValueError(
            f"log_interval must be at least 1 episode, or None for no logs by episode, got {log_interval}."
        )


def _is_statistics(episode: Any) -> bool:
    return isinstance(episode, dict) and {"r", "l"} <= episode.keys()
