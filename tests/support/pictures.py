"""Pictures read back as pixels, and what the tests of figures draw: goals, walks towards them, references."""

from pathlib import Path

import numpy as np
from PIL import Image

REFERENCES = {"random policy": -310.0, "goal known": -40.0}


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        image.verify()
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"))


def count_colour(image: np.ndarray, colour: str) -> int:
    rgb = np.array([int(colour[start : start + 2], 16) for start in (1, 3, 5)])
    return int((np.abs(image.astype(int) - rgb).max(-1) < 8).sum())


def goals_on_half_circle(n_tasks: int) -> np.ndarray:
    angles = np.linspace(0.2, np.pi - 0.2, n_tasks)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def walk(rng: np.random.Generator, target: np.ndarray, steps: int = 20) -> np.ndarray:
    straight: np.ndarray = np.linspace(0, 1, steps + 1)[:, None] * target
    return straight + 0.02 * rng.normal(size=(steps + 1, 2))
