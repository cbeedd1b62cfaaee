"""Families built from Gymnasium's classic control environments with `perturbed` and `mirrored`."""

from pearl.tasks.registry import register
from pearl.tasks.samplers import LogUniform, Uniform
from pearl.tasks.transforms.mirrored import Mirrored, mirrored
from pearl.tasks.transforms.perturbation import perturbed


def varying_cartpole() -> Mirrored:
    """CartPole with other lengths and masses of the pole; left and right are swapped in half of the tasks.

    ``length`` is half the pole's length in metres (CartPole's own is 0.5), ``masspole`` is in kilograms (its own is
    0.1). Episodes are truncated after 500 steps.
    """
    varied = perturbed("CartPole-v1", {"length": Uniform(0.25, 1.0), "masspole": LogUniform(0.05, 0.5)})
    return mirrored(varied, name="varying-cartpole")


def varying_pendulum() -> Mirrored:
    """Pendulum with other gravities, masses and lengths; the torque's sign is swapped in half of the tasks.

    ``g`` is in metres per second squared (Pendulum's own is 10), ``m`` in kilograms, ``l`` in metres (both 1). Episodes
    are truncated after 200 steps.
    """
    varied = perturbed("Pendulum-v1", {"g": Uniform(8.0, 12.0), "m": Uniform(0.75, 1.25), "l": Uniform(0.75, 1.25)})
    return mirrored(varied, name="varying-pendulum")


register(
    "varying-cartpole",
    varying_cartpole,
    "balance poles of other lengths and masses; in half of the tasks left and right are swapped",
)
register(
    "varying-pendulum",
    varying_pendulum,
    "swing up pendulums of other gravity, mass and length; in half of the tasks the torque's sign is swapped",
)
