"""A gated recurrent unit with a fast gradient on CPUs."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional


class GatedRecurrentUnit(nn.GRU):
    """PyTorch's ``nn.GRU`` with one layer, batch first. Weights are the same; results are equal up to rounding.

    For learning on a CPU, the steps and their gradient run in NumPy on the tensors' own memory. A step is a product of
    a few rows and a dozen elementwise operations, for which PyTorch's calls take several times as long as the
    computation. The weights' gradient is one product over all steps instead of one per step. On other devices, and
    under autocast, whose bfloat16 NumPy lacks, this is ``nn.GRU``.

    Args:
        input_dim: width of the input of a step.
        width: width of the hidden state.
    """

    weight_ih_l0: Tensor
    weight_hh_l0: Tensor
    bias_ih_l0: Tensor
    bias_hh_l0: Tensor

    def __init__(self, input_dim: int, width: int) -> None:
        super().__init__(input_dim, width, batch_first=True)

    def forward(self, input: Tensor, hx: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """Return the states after each step, (task, step, width), and the last ones, (1, task, width).

        Args:
            input: (task, step, input_dim).
            hx: the states before the first step, (1, task, width).
        """
        if not (torch.is_grad_enabled() and input.is_cpu) or torch.is_autocast_enabled("cpu"):
            states, last = super().forward(input, hx)
            return states, last
        of_gates, of_new = self.bias_hh_l0.split([2 * self.hidden_size, self.hidden_size])
        bias = self.bias_ih_l0 + functional.pad(of_gates, (0, self.hidden_size))
        read = functional.linear(input.transpose(0, 1), self.weight_ih_l0, bias)
        states = _Recurrence.apply(read, hx[0], self.weight_hh_l0, of_new)  # type: ignore[no-untyped-call]
        return states.transpose(0, 1), states[-1:]


class _Recurrence(torch.autograd.Function):
    """The steps of a gated recurrent unit (Cho et al. 2014), given the projected inputs of each step.

    r = sigmoid(a_r + W_r h), u = sigmoid(a_u + W_u h), n = tanh(a_n + r (W_n h + b)) and h' = n + u (h - n), where a is
    the projected input, (step, task, 3 width) in the order r, u, n.
    """

    @staticmethod
    def forward(ctx: Any, read: Tensor, hidden: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        (steps, tasks, _), width = read.shape, hidden.shape[1]
        columns = np.ascontiguousarray(_array(weight).T)  # Products with a transposed view take twice as long.
        a, b, states = _array(read), _array(bias), read.new_empty(steps + 1, tasks, width)
        states[0] = hidden
        # Saved with r and u: dh'/d(n's sum), dh'/d(u's sum) and d(n's sum)/d(r's sum).
        gates = read.new_empty(steps, tasks, 2 * width)
        slopes = read.new_empty(3, steps, tasks, width)
        h, r_and_u, (to_new, to_update, to_reset) = map(_array, (states, gates, slopes))
        products = np.empty((tasks, 3 * width), h.dtype)
        of_gates, of_new = products[:, : 2 * width], products[:, 2 * width :]
        one_minus = np.empty_like(of_gates)
        n, difference = (np.empty_like(h[0]) for _ in range(2))
        for step in range(steps):
            before, both = h[step], r_and_u[step]
            np.matmul(before, columns, out=products)
            np.add(a[step, :, : 2 * width], of_gates, out=both)
            both *= 0.5  # sigmoid(x) = (1 + tanh(x / 2)) / 2, which does not overflow
            np.tanh(both, out=both)
            both += 1.0
            both *= 0.5
            np.subtract(1.0, both, out=one_minus)
            of_new += b
            of_new *= both[:, :width]
            np.multiply(of_new, one_minus[:, :width], out=to_reset[step])
            np.add(of_new, a[step, :, 2 * width :], out=n)
            np.tanh(n, out=n)
            np.subtract(before, n, out=difference)
            difference *= both[:, width:]
            np.multiply(difference, one_minus[:, width:], out=to_update[step])
            np.add(n, difference, out=h[step + 1])
            np.multiply(n, n, out=n)
            np.subtract(1.0, n, out=n)
            np.multiply(n, one_minus[:, width:], out=to_new[step])
        ctx.save_for_backward(states, gates, slopes, weight)
        return states[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        h, r_and_u, (to_new, to_update, to_reset), weight = map(_array, ctx.saved_tensors)
        steps, tasks, width = to_new.shape
        # Gradients to the projected inputs, and to W_n h + b.
        of_read = gradient.new_empty(steps, tasks, 3 * width)
        of_recurrent = gradient.new_empty(steps, tasks, width)
        sums, recurrent, outer = _array(of_read), _array(of_recurrent), _array(gradient)
        change, product = np.zeros_like(h[0]), np.empty_like(h[0])
        for step in reversed(range(steps)):
            of_gates, of_new = sums[step, :, : 2 * width], sums[step, :, 2 * width :]
            change += outer[step]
            np.multiply(change, to_new[step], out=of_new)
            np.multiply(of_new, to_reset[step], out=of_gates[:, :width])
            np.multiply(change, to_update[step], out=of_gates[:, width:])
            np.multiply(of_new, r_and_u[step, :, :width], out=recurrent[step])
            change *= r_and_u[step, :, width:]
            np.matmul(of_gates, weight[: 2 * width], out=product)
            change += product
            np.matmul(recurrent[step], weight[2 * width :], out=product)
            change += product
        before, by_new = torch.from_numpy(h[:-1]).flatten(0, 1), of_recurrent.flatten(0, 1)
        by_gates = of_read.flatten(0, 1)[:, : 2 * width]
        of_weight = torch.cat([by_gates.T @ before, by_new.T @ before])
        return of_read, torch.from_numpy(change), of_weight, by_new.sum(0)


def _array(tensor: Tensor) -> NDArray[Any]:
    """Return a tensor as an array, which shares the memory of a contiguous tensor."""
    array: NDArray[Any] = tensor.detach().contiguous().numpy()
    return array
