"""stable-baselines3's callbacks and logger, as a PEARL model takes them."""

from collections.abc import Callable
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback, CallbackList, ConvertCallback, ProgressBarCallback
from stable_baselines3.common.logger import Logger

Callback = BaseCallback | list[BaseCallback] | Callable[[dict[str, Any], dict[str, Any]], bool] | None
"""What ``learn`` takes: callbacks, a function of (locals, globals) that returns whether to go on, or nothing"""


def silent_logger() -> Logger:
    """Return a logger that writes nowhere."""
    return Logger(folder=None, output_formats=[])


def init_callback(model: Any, callback: Callback, progress_bar: bool) -> BaseCallback:
    """Return one callback, bound to ``model``, for all that was given."""
    if isinstance(callback, list):
        callback = CallbackList(callback)
    elif not isinstance(callback, BaseCallback):
        callback = ConvertCallback(callback)
    if progress_bar:
        callback = CallbackList([callback, _ProgressBar()])
    callback.init_callback(model)
    return callback


class _ProgressBar(ProgressBarCallback):
    """Counts the environment steps that were taken; tasks that idle or were not chosen take none."""

    def _on_training_start(self) -> None:
        super()._on_training_start()
        self._shown = self.num_timesteps

    def _on_step(self) -> bool:
        self.pbar.update(self.num_timesteps - self._shown)
        self._shown = self.num_timesteps
        return True
