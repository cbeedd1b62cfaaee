"""Figures of meta-training, adaptation and posteriors: pure functions from arrays to PNG (and GIF) files.

Every function returns the path that it wrote. It writes the whole file or nothing, and makes a missing folder. It
leaves pyplot's state and the caller's rcParams unchanged. A value that is not finite leaves a gap.
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
