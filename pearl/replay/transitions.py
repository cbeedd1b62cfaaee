"""A replay of the transitions of all tasks, which draws a whole meta-batch in one indexing operation."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from agents import MetaBatch, Transitions
from encoders import Context
from pearl.collection.rollout import Trajectories
from pearl.config.training import CAPACITY

MIB = 2**20


class Rows(NamedTuple):
    """Transitions from the store."""

    observation: Tensor
    """(task, n, observation_dim), float32; uint8 for images"""
    action: Tensor
    """(task, n, action_dim)"""
    next_observation: Tensor
    """(task, n, observation_dim)"""
    reward: Tensor
    """(task, n), the true reward"""
    training_reward: Tensor
    """(task, n)"""
    terminated: Tensor
    """(task, n)"""


class TaskReplay:
    """A store indexed by task; each task keeps its newest ``capacity`` transitions, trial by trial.

    All fields lie in one float32 tensor, so that one indexing operation fetches them. Images are kept apart, as uint8.

    A context is the part of a trial from its start up to a transition drawn uniformly. Therefore no transition repeats,
    lengths are random, and contexts in training resemble contexts at test time.

    Args:
        n_tasks: number of tasks.
        capacity: transitions kept per task; if None ``CAPACITY``, or as many as the limit allows.
        observation_dim: width of an observation.
        action_dim: width of an action.
        budget_mb: memory limit of the store, in MiB.
        images: whether observations are images.
        device: device of the store and of the draws; ``n_added`` is always on the CPU.

    Raises:
        MemoryError: the store would exceed the limit; the message says how much it needs.
    """

    def __init__(
        self,
        n_tasks: int,
        capacity: int | None,
        observation_dim: int,
        action_dim: int,
        *,
        budget_mb: int,
        images: bool = False,
        device: torch.device | None = None,
    ) -> None:
        vector, image = (0, observation_dim) if images else (observation_dim, 0)
        self._widths = [vector, action_dim, vector, 1, 1, 1]
        bytes_per_row = n_tasks * (4 * sum(self._widths) + 2 * image + 8)
        if capacity is None:
            capacity = max(1, min(CAPACITY, budget_mb * MIB // bytes_per_row))
        n_bytes = capacity * bytes_per_row
        check_budget(f"{n_tasks} tasks x {capacity} transitions", n_bytes, budget_mb)
        self.capacity = capacity
        self.n_bytes = n_bytes
        self.device = torch.device("cpu") if device is None else device
        self.n_added = torch.zeros(n_tasks, dtype=torch.int64)
        self._n_added = self.n_added.to(self.device)  # on the CPU, the same tensor
        self._store = untouched_zeros((n_tasks, capacity, sum(self._widths)), np.float32, self.device)
        self._images = untouched_zeros((n_tasks, capacity, 2, image), np.uint8, self.device) if images else None
        self._trial_start = untouched_zeros((n_tasks, capacity), np.int64, self.device)

    @property
    def every_task_has_transitions(self) -> bool:
        """Whether every task has transitions."""
        return int(self.n_added.min()) > 0

    def size(self) -> Tensor:
        """Return the number of transitions of each task, (task,)."""
        return self.n_added.clamp(max=self.capacity)

    def add(self, task_ids: Sequence[int] | NDArray[np.int64], trajectories: Trajectories) -> None:
        """Append one trial of each task; ``trajectories`` has one row per id.

        Raises:
            ValueError: a trial is longer than the store's capacity per task.
        """
        ids = torch.as_tensor(task_ids, dtype=torch.int64)
        mask = torch.from_numpy(trajectories.mask)
        lengths = mask.sum(1)
        if int(lengths.max()) > self.capacity:
            raise ValueError(
                f"A trial of {int(lengths.max())} transitions does not fit into a replay of {self.capacity} per task; "
                "raise training.replay_capacity."
            )
        observations = trajectories.observation, trajectories.next_observation
        nothing = np.zeros((*trajectories.mask.shape, 0), np.float32)
        before, after = observations if self._images is None else (nothing, nothing)
        columns = (
            before,
            trajectories.action,
            after,
            trajectories.reward[..., None],
            trajectories.training_reward[..., None],
            trajectories.terminated[..., None].astype(np.float32),
        )
        rows = torch.cat([torch.from_numpy(column) for column in columns], dim=-1)
        start = self.n_added[ids].unsqueeze(1)
        slots = (start + mask.cumsum(1) - 1) % self.capacity
        owners = ids.unsqueeze(1).expand_as(slots)
        places = owners[mask].to(self.device), slots[mask].to(self.device)
        self._store[places] = rows[mask].to(self.device)
        if self._images is not None:
            for side, images in enumerate(observations):
                self._images[(*places, side)] = torch.from_numpy(images)[mask].to(self.device)
        self._trial_start[places] = start.expand_as(slots)[mask].to(self.device)
        self.n_added[ids] += lengths
        self._n_added.copy_(self.n_added)

    def draw_rows(self, task_ids: Tensor, n: int, rng: torch.Generator, *, recent: int | None = None) -> Tensor:
        """Draw ``n`` transitions of each task uniformly; return their numbers (task, n), counted from the task's first.

        Args:
            task_ids: (task,) int64, on the replay's device.
            n: transitions per task.
            rng: the source of the draws.
            recent: draw from each task's newest ``recent`` transitions; from all stored ones if None.

        Raises:
            ValueError: a task has no transitions.
        """
        added = self._n_added[task_ids]
        window = added.clamp(max=self.capacity)
        if not self.every_task_has_transitions and int(window.min()) == 0:  # The first condition needs no device.
            raise ValueError(f"Tasks {task_ids[window == 0].tolist()} hold no transitions; collect from them first.")
        if recent is not None:
            window = window.clamp(max=recent)
        uniform = torch.rand(len(task_ids), n, generator=rng, dtype=torch.float64, device=self.device)
        return (added - window).unsqueeze(1) + (uniform * window.unsqueeze(1)).long()

    def sample(
        self,
        task_ids: Tensor,
        batch_size: int,
        max_context: int,
        rng: torch.Generator,
        *,
        recent: int | None = None,
        context_ends: Tensor | None = None,
        random_length: bool = False,
    ) -> MetaBatch:
        """Draw a meta-batch: context and transitions of each task, drawn independently.

        Args:
            task_ids: (task,) int64, on the replay's device.
            batch_size: transitions per task for actor and critics, uniform over all stored ones.
            max_context: maximum length of a context, in transitions; a longer one keeps its newest transitions.
            rng: the source of every draw.
            recent: contexts end in each task's newest ``recent`` transitions; anywhere if None.
            context_ends: (task,), absolute number of each context's last transition; drawn if None.
            random_length: cut each context to its newest transitions; their number is log-uniform from 1 to
                ``max_context``, so that short contexts are as frequent as long ones, however long trials are.

        Returns:
            Context (task, max_context, …), padded, and transitions (task, batch_size, …) with the training reward.

        Raises:
            ValueError: a task has no transitions.
        """
        if context_ends is None:
            context_ends = self.draw_rows(task_ids, 1, rng, recent=recent)[:, 0]
        longest = torch.full((len(task_ids),), max_context, device=self.device)
        if random_length:
            uniform = torch.rand(len(task_ids), generator=rng, dtype=torch.float64, device=self.device)
            longest = torch.exp(uniform * math.log(max_context + 1)).long()
        context_rows, mask = self._context_rows(task_ids, context_ends, longest, max_context)
        rows = torch.cat([context_rows, self.draw_rows(task_ids, batch_size, rng)], dim=1)
        drawn = self.rows(task_ids, rows)
        context, batch = (
            Rows(*parts) for parts in zip(*(field.split([max_context, batch_size], 1) for field in drawn), strict=True)
        )
        return MetaBatch(
            context=Context(context.observation, context.action, context.reward, context.next_observation, mask),
            transitions=Transitions(
                observation=batch.observation,
                action=batch.action,
                reward=batch.training_reward,
                next_observation=batch.next_observation,
                terminated=batch.terminated,
            ),
        )

    def context(self, task_ids: Tensor, ends: Tensor, max_context: int) -> Context:
        """Return the contexts that end at the transitions ``ends``, each from its trial's start.

        Args:
            task_ids: (task,) int64, on the replay's device.
            ends: (task,), absolute number of each context's last transition.
            max_context: maximum length of a context, in transitions; a longer one keeps its newest transitions.
        """
        longest = torch.full((len(task_ids),), max_context, device=self.device)
        rows, mask = self._context_rows(task_ids, ends, longest, max_context)
        drawn = self.rows(task_ids, rows)
        return Context(drawn.observation, drawn.action, drawn.reward, drawn.next_observation, mask)

    def _context_rows(self, task_ids: Tensor, ends: Tensor, longest: Tensor, max_context: int) -> tuple[Tensor, Tensor]:
        added = self._n_added[task_ids]
        oldest = added - added.clamp(max=self.capacity)
        first = self._trial_start[task_ids, ends % self.capacity]
        first = torch.maximum(torch.maximum(first, oldest), ends + 1 - longest)
        rows = first.unsqueeze(1) + torch.arange(max_context, device=self.device)
        return rows, rows <= ends.unsqueeze(1)

    def rows(self, task_ids: Tensor, rows: Tensor) -> Rows:
        """Return the transitions of absolute numbers ``rows`` (task, n) in one indexing operation.

        Args:
            task_ids: (task,) int64, on the replay's device.
            rows: (task, n) int64; the number of an overwritten transition gives a newer one.
        """
        slots = task_ids.unsqueeze(1), rows % self.capacity
        drawn = self._store[slots].split(self._widths, dim=-1)
        found = Rows(*drawn[:3], *(column.squeeze(-1) for column in drawn[3:]))
        if self._images is None:
            return found
        before, after = self._images[slots].unbind(2)
        return found._replace(observation=before, next_observation=after)

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors for a checkpoint: the filled part of the store."""
        filled = int(self.size().max())
        tensors = {
            "n_added": self.n_added,
            "store": self._store[:, :filled].contiguous(),
            "trial_start": self._trial_start[:, :filled].contiguous(),
        }
        return tensors if self._images is None else tensors | {"images": self._images[:, :filled].contiguous()}

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Load the tensors of another replay of the same shape.

        Raises:
            KeyError: a tensor is missing.
            ValueError: the number of tasks, the widths or the capacity do not fit, or a tensor holds invalid values;
                the replay is unchanged.
        """
        n_added, store, trial_start = tensors["n_added"], tensors["store"], tensors["trial_start"]
        check_form("n_added", n_added, tuple(self.n_added.shape), torch.int64)
        filled = int(n_added.clamp(max=self.capacity).max())
        # A ring that wrapped around at another capacity has its rows in other places.
        if store.shape != (len(n_added), filled, sum(self._widths)):
            raise ValueError(
                f"The saved replay has the shape {tuple(store.shape)} (task, transition, width), this one is "
                f"{tuple(self._store.shape)}; tasks, spaces and replay_capacity must be those of the saved run."
            )
        check_form("store", store, tuple(store.shape), torch.float32)
        check_form("trial_start", trial_start, (len(n_added), filled), torch.int64)
        slots, added = torch.arange(filled), n_added.unsqueeze(1)
        newest = slots + self.capacity * torch.div(added - 1 - slots, self.capacity, rounding_mode="floor")
        held = slots < added
        check_content("trial_start", ((trial_start >= 0) & (trial_start <= newest))[held])
        check_content("n_added", (n_added >= 0) & (n_added < 2**53))
        check_content("store", store.isfinite())
        images = tensors.get("images")
        if (images is None) != (self._images is None):
            raise ValueError(
                "Only one of the saved replay and this one holds images. Give the saved run's task distribution."
            )
        if images is not None and self._images is not None:
            check_form("images", images, (len(n_added), filled, *self._images.shape[2:]), torch.uint8)
            self._images[:, :filled] = images
        self.n_added.copy_(n_added)
        self._n_added.copy_(self.n_added)
        self._store[:, :filled] = store
        self._trial_start[:, :filled] = trial_start


def check_form(name: str, tensor: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    """Check the shape and dtype of a saved replay's tensor.

    Raises:
        ValueError: the tensor has another shape or dtype.
    """
    if tensor.shape != shape or tensor.dtype != dtype:
        raise ValueError(
            f"The saved replay's {name!r} is {tensor.dtype} {tuple(tensor.shape)}, expected {dtype} {shape}; "
            "tasks, spaces and replay_capacity must be those of the saved run."
        )


def check_content(name: str, sound: Tensor) -> None:
    """Check the values of a saved replay's tensor, given a mask that is True for valid values.

    Raises:
        ValueError: a value is invalid.
    """
    if not bool(sound.all()):
        raise ValueError(f"The saved replay's {name!r} holds invalid values. Restore the checkpoint.")


def untouched_zeros(shape: tuple[int, ...], dtype: type[np.generic], device: torch.device) -> Tensor:
    """Return zeros that take memory only once they are written to, on systems that allocate memory lazily.

    The replay of a model that is loaded only to act therefore takes no memory.

    Raises:
        MemoryError, ValueError: the system cannot allocate the tensor.
    """
    if device.type == "cpu":
        return torch.from_numpy(np.zeros(shape, dtype))
    return torch.zeros(shape, dtype=torch.from_numpy(np.zeros(0, dtype)).dtype, device=device)


def check_budget(size: str, n_bytes: int, budget_mb: int) -> None:
    """Check a replay's memory before it is allocated.

    Args:
        size: description of the replay's size, for the error.
        n_bytes: memory that the replay would take.
        budget_mb: memory limit, in MiB.

    Raises:
        MemoryError: the replay would exceed the limit.
    """
    if n_bytes > budget_mb * MIB:
        raise MemoryError(
            f"A replay of {size} needs {n_bytes / MIB:.0f} MiB, the budget (training.replay_budget_mb) is {budget_mb} "
            "MiB. Lower training.replay_capacity or raise the budget."
        )
