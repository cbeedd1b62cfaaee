"""An optimizer's state as flat named tensors, so that a resumed optimizer takes bit-identical steps."""

import math
from collections.abc import Mapping
from typing import Any

import torch

from agents.finite import is_finite_tensor
from encoders.abbreviation import shortened

_NEVER_NEGATIVE = (".step", ".exp_avg_sq", ".max_exp_avg_sq")


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """Return the optimizer's state by name: "<parameter>.<quantity>", and each group's learning rate as "lr.<group>".

    Parameters are numbered from 0 through all groups, as in `state_dict()`. The tensors are the optimizer's own, not
    copies. Other hyperparameters are not included; they come from the configuration.

    Returns:
        For Adam "0.step" () and "0.exp_avg", "0.exp_avg_sq" (of the parameter's shape); "lr.0" () in float64.
    """
    state = optimizer.state_dict()["state"]
    expected = _expected_names(optimizer)
    tensors = {
        f"lr.{index}": torch.tensor(float(group["lr"]), dtype=torch.float64)
        for index, group in enumerate(optimizer.param_groups)
    }
    for index, quantities in state.items():
        for name in expected[index]:
            if name in quantities:
                tensors[f"{index}.{name}"] = quantities[name]
    return tensors


def load_optimizer_tensors(optimizer: torch.optim.Optimizer, tensors: Mapping[str, torch.Tensor]) -> None:
    """Restore the state that `optimizer_tensors` returned.

    Args:
        optimizer: an optimizer built like the saved one: same number, order and shapes of parameters.
        tensors: the result of `optimizer_tensors`; the tensors are copied.

    Raises:
        ValueError: the tensors do not fit this optimizer, which is unchanged.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    remaining = dict(tensors)
    state: dict[int, dict[str, torch.Tensor]] = {}
    for index, (parameter, names) in enumerate(zip(parameters, _expected_names(optimizer), strict=True)):
        found = {name: remaining.pop(f"{index}.{name}") for name in names if f"{index}.{name}" in remaining}
        if found and len(found) < len(names):
            raise _mismatch(f"parameter {index} has {sorted(found)}, expected all of {sorted(names)}")
        for name, tensor in found.items():
            _check_form(f"{index}.{name}", tensor, parameter)
        if found:
            state[index] = {name: tensor.clone() for name, tensor in found.items()}
    loaded: dict[str, Any] = {**optimizer.state_dict(), "state": state}
    for index, group in enumerate(loaded["param_groups"]):
        group["lr"] = _learning_rate(remaining.pop(f"lr.{index}", None), index, group["lr"])
    if remaining:
        raise _mismatch(
            f"it has {len(parameters)} parameters in {len(optimizer.param_groups)} groups and no place for "
            f"{shortened(', '.join(sorted(remaining)), 200)}"
        )
    optimizer.load_state_dict(loaded)


def _expected_names(optimizer: torch.optim.Optimizer) -> list[tuple[str, ...]]:
    """Return, for each parameter, the names of the quantities that the optimizer keeps after a step."""
    names: list[tuple[str, ...]] = []
    for group in optimizer.param_groups:
        if isinstance(optimizer, torch.optim.Adam | torch.optim.AdamW):
            quantities: tuple[str, ...] = ("step", "exp_avg", "exp_avg_sq")
            quantities += ("max_exp_avg_sq",) if group["amsgrad"] else ()
        elif isinstance(optimizer, torch.optim.SGD):
            quantities = ("momentum_buffer",) if group["momentum"] else ()
        else:
            raise ValueError(
                f"cannot save or restore the state of {type(optimizer).__name__}; Adam, AdamW and SGD are known. "
                "Use one of these, or add the quantities of yours to pearl/checkpoint/optimizer_state.py."
            )
        names.extend(quantities for _ in group["params"])
    return names


def _check_form(name: str, tensor: torch.Tensor, parameter: torch.Tensor) -> None:
    is_step = name.endswith(".step")
    shape, dtype = (torch.Size(()), torch.float32) if is_step else (parameter.shape, parameter.dtype)
    if tensor.shape != shape or tensor.dtype != dtype:
        raise _mismatch(f"{name!r} is {tensor.dtype} {tuple(tensor.shape)}, expected {dtype} {tuple(shape)}")
    if not is_finite_tensor(tensor) or (name.endswith(_NEVER_NEGATIVE) and bool((tensor < 0).any())):
        raise _mismatch(f"{name!r} holds numbers that no step gives: they are not finite, or negative")
    if is_step and float(tensor) % 1 != 0:
        raise _mismatch(f"{name!r} is {float(tensor)}, expected a number of gradient steps")


def _learning_rate(tensor: torch.Tensor | None, index: int, current: float | torch.Tensor) -> float | torch.Tensor:
    if tensor is None or tensor.shape != () or not math.isfinite(float(tensor)) or float(tensor) < 0:
        raise _mismatch(f"'lr.{index}' is {shortened(format(tensor), 100)}, expected group {index}'s learning rate")
    return torch.full_like(current, float(tensor)) if isinstance(current, torch.Tensor) else float(tensor)


def _mismatch(finding: str) -> ValueError:
    return ValueError(
        f"the saved state does not fit this optimizer: {finding}. Build the optimizer with the configuration, network "
        "sizes and parameter order of the run that was saved."
    )
