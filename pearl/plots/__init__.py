"""Figures of meta-training, adaptation and posteriors: pure functions from arrays to PNG (and GIF) files.

Every function returns the path it wrote. A file appears whole or not at all, its folder is made where it is missing,
and neither pyplot's state nor the caller's rcParams change. A measurement that is not finite leaves a gap.
"""

from pearl.plots.comparison import comparison
from pearl.plots.curves import learning_curve, learning_curves, return_by_episode
from pearl.plots.film import animation
from pearl.plots.plane import trajectories
from pearl.plots.posterior import posterior_means, posterior_spread
from pearl.plots.specialists import specialist_curves
from pearl.plots.story import adaptation_story
from pearl.plots.variants import variant_curves

__all__ = [
    "adaptation_story",
    "animation",
    "comparison",
    "learning_curve",
    "learning_curves",
    "posterior_means",
    "posterior_spread",
    "return_by_episode",
    "specialist_curves",
    "trajectories",
    "variant_curves",
]
