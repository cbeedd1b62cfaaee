"""A gradient step captured once as a CUDA graph and then replayed as a whole."""

from collections.abc import Callable

import torch

WARM_UP = 3
"""Number of eager steps before the capture, in which libraries and the optimizer allocate their persistent memory"""


class CapturedStep:
    """Takes one step per call: the first steps eagerly, the later ones as replays of a CUDA graph.

    A capture executes nothing; the replay after it takes the step. The results therefore equal those of calling
    ``step`` directly.

    Args:
        step: takes a step on the same tensors with the same shapes each time, without synchronising with the host
            (``encoders.kernels.static_shapes``).
        rng: the step's random generator, on the GPU.
    """

    def __init__(self, step: Callable[[], None], rng: torch.Generator) -> None:
        self._step = step
        self._rng = rng
        self._stream = torch.cuda.Stream()
        self._n_warm = 0
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self) -> None:
        """Take one step."""
        if self._n_warm < WARM_UP:
            self._take_aside()
            self._n_warm += 1
            return
        if self._graph is None:
            self._graph = self._capture()
        self._graph.replay()

    def _take_aside(self) -> None:
        """Take the step on a separate stream, as CUDA requires before a capture."""
        present = torch.cuda.current_stream()
        self._stream.wait_stream(present)
        with torch.cuda.stream(self._stream):
            self._step()
        present.wait_stream(self._stream)

    def _capture(self) -> torch.cuda.CUDAGraph:
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(self._rng)
        with torch.cuda.graph(graph, stream=self._stream):
            self._step()
        return graph
