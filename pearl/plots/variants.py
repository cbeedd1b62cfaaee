"""Learning curves of variants of a setting, compared with the plain setting."""

import os
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.ticker import EngFormatter
from numpy.typing import ArrayLike

from pearl.plots.arrays import FloatArray, as_array, as_increasing
from pearl.plots.curves import mean_of_seeds
from pearl.plots.style import MUTED, PALETTE, add_header, png

COLUMNS = 3

Seeds = Sequence[tuple[ArrayLike, ArrayLike]]
"""Environment steps and value at each evaluation, both (evaluation,), of each seed"""


def variant_curves(
    path: str | os.PathLike[str], curves: Mapping[str, Seeds], *, plain: str, title: str, value_name: str
) -> Path:
    """Draw each variant in a panel of its own: its seeds thin, their mean thick, the plain setting's seeds in grey.

    Args:
        path: the PNG file to write.
        curves: the seeds of every variant by its name, including the plain setting.
        plain: name of the plain setting.
        title: the figure's title.
        value_name: name of the values, for the axes.

    Raises:
        ValueError: the plain setting or its variants are missing, a shape is wrong, steps decrease, or the seeds of a
            variant share no range of environment steps.
    """
    variants = [name for name in curves if name != plain]
    if plain not in curves or not variants:
        raise ValueError(f"curves must hold {plain!r} and at least one variant; found {', '.join(curves) or 'none'}")
    checked = {name: [_checked(name, *seed) for seed in seeds] for name, seeds in curves.items()}
    rows = -(-len(variants) // COLUMNS)
    with png(path, height=1.0 + 1.9 * rows) as figure:
        panels = figure.subplots(rows, COLUMNS, sharex=True, sharey=True, squeeze=False).flatten()
        for axes, name in zip(panels, variants, strict=False):
            for label, colour, order in ((plain, MUTED, 1), (name, PALETTE[0], 2)):
                for steps, values in checked[label]:
                    axes.plot(steps, values, color=colour, linewidth=0.8, alpha=0.45, zorder=order)
                grid, mean = mean_of_seeds(label, checked[label])
                axes.plot(grid, mean, color=colour, linewidth=2.2, zorder=order + 2)
            caption = textwrap.fill(f"{name.replace('-', ' ')} ({len(checked[name])})", 32)
            axes.set_title(caption, fontsize=9.5, color=PALETTE[0], loc="left")
            axes.xaxis.set_major_formatter(EngFormatter())
            axes.tick_params(labelsize=8)
        for axes in panels[len(variants) :]:
            axes.set_axis_off()
        for axes in panels[max(0, len(variants) - COLUMNS) : len(variants)]:
            axes.tick_params(labelbottom=True)
            axes.set_xlabel("environment steps", fontsize=8.5)
        panels[0].set_ylim(*_limits([values for seeds in checked.values() for _, values in seeds]))
        add_header(
            figure,
            title,
            f"{value_name} on test tasks; blue: the variant, in brackets its seeds; grey: the {plain} setting "
            f"({len(checked[plain])}); thin: one seed each, thick: their mean",
        )
    return Path(path)


def _checked(name: str, env_steps: ArrayLike, values: ArrayLike) -> tuple[FloatArray, FloatArray]:
    steps = as_increasing(f"{name} env_steps", env_steps, "evaluation")
    return steps, as_array(f"{name} values", values, (str(len(steps)),))


def _limits(values: Sequence[FloatArray]) -> tuple[float, float]:
    """Return limits that show the end of learning; a low start or a single collapse is cut off."""
    everything = np.concatenate(values)
    low, high = float(np.nanquantile(everything, 0.08)), float(np.nanmax(everything))
    margin = 0.06 * (high - low) or 1.0
    return low - margin, high + margin
