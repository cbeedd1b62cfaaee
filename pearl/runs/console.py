"""Console output of training: a live bar, and a line per evaluation."""

from collections.abc import Mapping

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from stable_baselines3.common.callbacks import BaseCallback


class TrainingProgress(BaseCallback):
    """Shows environment steps, the last score and the time left: a live bar in a terminal, else a line per evaluation.

    Args:
        console: the console to print to.
    """

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("env steps"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,  # Without a terminal, the bar would leave blank lines.
        )
        self._bar = self._progress.add_task("training", total=None)

    def _on_training_start(self) -> None:
        self._progress.update(self._bar, total=self.locals["total_timesteps"], completed=self.model.num_timesteps)
        self._progress.start()

    def _on_step(self) -> bool:
        steps = self.model.num_timesteps
        # Whole iterations may exceed the requested steps.
        self._progress.update(self._bar, completed=steps, total=max(steps, self._progress.tasks[self._bar].total or 0))
        return True

    def _on_training_end(self) -> None:
        self._progress.stop()

    def stop(self) -> None:
        """Remove the bar from the screen, also after an error."""
        self._progress.stop()

    def evaluated(self, metrics: Mapping[str, float]) -> None:
        """Show an evaluation's figures."""
        returns = [f"{value:.2f}" for name, value in metrics.items() if name.startswith("test/return_ep")]
        line = f"{int(metrics['env_steps']):>9,} env steps  {metrics['wall_s']:>6.0f} s  return {' → '.join(returns)}"
        if "test/cvar" in metrics:
            line += f"  worst 5 % {metrics['test/cvar']:.2f}"
        if "test/score" in metrics:
            line += f"  score {metrics['test/score']:.3f}"
            self._progress.update(self._bar, description=f"score {metrics['test/score']:.3f}")
        self._console.print(line, soft_wrap=True, highlight=False)
