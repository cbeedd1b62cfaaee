"""A step that a GPU repeats by itself: captured once as a CUDA graph, and launched as a whole from then on."""

from collections.abc import Callable

import torch

WARM_UP = 3
"""Steps taken as they are before one is captured, in which libraries and the optimizer take the memory they keep"""


class CapturedStep:
    """Takes a step each time it is called: the first ones as they are, the later ones as replays of a CUDA graph.

    Every call moves on by one step; what is captured is not executed until it is replayed. So the numbers are those of
    calling ``step`` itself.

    Args:
        step: always of the same shapes, on the same tensors, and without a question that the host would have to wait
            for (``encoders.kernels.static_shapes``).
        rng: the generator on the GPU that the step draws from.
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
        """Take the step on another stream than the present one, as CUDA asks for before a capture."""
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
