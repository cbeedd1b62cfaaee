"""A replay of whole trials, which draws a batch in one indexing operation."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from agents import TrialBatch
from pearl.collection.rollout import Trajectories
from pearl.replay.transitions import check_budget, check_content, check_form, untouched_zeros

ONGOING, TRUNCATED, TERMINATED = 0.0, 1.0, 2.0
"""The store's codes of an episode's state after a transition"""


class TrialReplay:
    """A ring of the newest ``capacity`` transitions, in which trials lie one after the other.

    All fields lie in one float32 tensor; images are kept apart, as uint8. The next observation is not stored: it is the
    next transition's observation. A trial is dropped when a part of it is overwritten.

    Args:
        capacity: transitions kept, of all tasks together.
        observation_dim: width of an observation.
        action_dim: width of an action.
        budget_mb: memory limit of the store, in MiB.
        images: whether observations are images.

    Raises:
        MemoryError: the store would exceed the limit; the message says how much it needs.
    """

    def __init__(
        self, capacity: int, observation_dim: int, action_dim: int, *, budget_mb: int, images: bool = False
    ) -> None:
        vector, image = (0, observation_dim) if images else (observation_dim, 0)
        self._widths = [vector, action_dim, 1, 1, 1]
        n_bytes = capacity * (4 * sum(self._widths) + image)
        check_budget(f"{capacity} transitions", n_bytes, budget_mb)
        self.capacity = capacity
        self.n_bytes = n_bytes
        self.n_added = torch.zeros((), dtype=torch.int64)
        device = torch.device("cpu")
        self._store = untouched_zeros((capacity, sum(self._widths)), np.float32, device)
        self._images = untouched_zeros((capacity, image), np.uint8, device) if images else None
        self._starts = torch.zeros(0, dtype=torch.int64)

    @property
    def n_trials(self) -> int:
        """Number of whole trials in the store."""
        return len(self._starts)

    def add(self, trajectories: Trajectories) -> None:
        """Append the trials of several tasks, one after the other.

        Raises:
            ValueError: the trials have more transitions than the store's capacity.
        """
        mask = torch.from_numpy(trajectories.mask)
        lengths = mask.sum(1)
        n = int(lengths.sum())
        if n > self.capacity:
            raise ValueError(
                f"An iteration's trials of {n} transitions do not fit into a replay of {self.capacity}; raise "
                "training.replay_capacity or lower training.tasks_per_iteration."
            )
        terminated, truncated = torch.from_numpy(trajectories.terminated), torch.from_numpy(trajectories.truncated)
        ending = torch.where(terminated, TERMINATED, torch.where(truncated, TRUNCATED, ONGOING)).float()
        columns = [
            torch.from_numpy(trajectories.action)[mask],
            torch.from_numpy(trajectories.reward)[mask].unsqueeze(1),
            torch.from_numpy(trajectories.training_reward)[mask].unsqueeze(1),
            ending[mask].unsqueeze(1),
        ]
        observation = torch.from_numpy(trajectories.observation)[mask]
        slots = (self.n_added + torch.arange(n)) % self.capacity
        if self._images is None:
            columns.insert(0, observation)
        else:
            self._images[slots] = observation
        self._store[slots] = torch.cat(columns, dim=1)
        starts = torch.cat([self._starts, (self.n_added + lengths.cumsum(0) - lengths)[lengths > 0]])
        self.n_added += n
        self._starts = starts[starts >= self.n_added - self.capacity]

    def sample(self, n: int, rng: torch.Generator, *, longest: int | None = None) -> TrialBatch:
        """Draw whole trials of the store, or parts of them, with replacement.

        Args:
            n: number of trials or parts.
            rng: the source of the draws.
            longest: maximum length of a part, in transitions. Each transition of each trial is equally likely to be in
                a part. A part is followed by one more transition, for the value after its last one. If None, whole
                trials are drawn, all equally likely.

        Returns:
            The trials, (trial, step, …), padded to the longest with the transitions that follow in the store.

        Raises:
            ValueError: the store holds no trial.
        """
        if not self.n_trials:
            raise ValueError("The replay holds no trials; collect some first.")
        lengths = torch.cat([self._starts[1:], self.n_added.view(1)]) - self._starts
        if longest is None:
            chosen = torch.randint(self.n_trials, (n,), generator=rng)
            first, stop = torch.zeros_like(chosen), lengths[chosen]
        else:
            # Parts may begin before a trial or end after it and are cut to it, so its ends are as likely as its middle.
            places = (lengths + longest - 1).cumsum(0)
            place = torch.randint(int(places[-1]), (n,), generator=rng)
            chosen = torch.searchsorted(places, place, right=True)
            stop = place - (places - lengths - longest)[chosen]
            first, stop = (stop - longest).clamp(min=0), torch.minimum(stop, lengths[chosen])
        read = torch.minimum(stop + 1, lengths[chosen]) - first
        step = torch.arange(int(read.max()))
        slots = ((self._starts[chosen] + first).unsqueeze(1) + step) % self.capacity
        vector, action, *numbers = self._store[slots].split(self._widths, dim=-1)
        reward, training_reward, ending = (column.squeeze(-1) for column in numbers)
        return TrialBatch(
            observation=vector if self._images is None else self._images[slots],
            action=action,
            reward=reward,
            training_reward=training_reward,
            ended=ending > ONGOING,
            terminated=ending == TERMINATED,
            mask=step < read.unsqueeze(1),
            learnt=step < (stop - first).unsqueeze(1),
        )

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors for a checkpoint: the filled part of the store, and the starts of the trials."""
        filled = min(int(self.n_added), self.capacity)
        tensors = {"n_added": self.n_added, "starts": self._starts, "store": self._store[:filled]}
        return tensors if self._images is None else tensors | {"images": self._images[:filled]}

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Load the tensors of another replay of the same shape.

        Raises:
            KeyError: a tensor is missing.
            ValueError: the widths or the capacity do not fit, or a tensor holds invalid values; the replay is
                unchanged.
        """
        n_added, store, starts = tensors["n_added"], tensors["store"], tensors["starts"]
        check_form("n_added", n_added, (), torch.int64)
        filled = min(int(n_added), self.capacity)
        # A ring that wrapped around at another capacity has its rows in other places.
        if store.shape != (filled, sum(self._widths)):
            raise ValueError(
                f"The saved replay has the shape {tuple(store.shape)} (transition, width), this one is "
                f"{tuple(self._store.shape)}; spaces and replay_capacity must be those of the saved run."
            )
        check_form("store", store, tuple(store.shape), torch.float32)
        check_form("starts", starts, (starts.numel(),), torch.int64)
        check_content("n_added", (n_added >= 0) & (n_added < 2**53))
        check_content("store", store.isfinite())
        check_content("store", torch.isin(store[:, -1], torch.tensor([ONGOING, TRUNCATED, TERMINATED])))
        check_content("starts", (starts >= n_added - filled) & (starts < n_added))
        check_content("starts", starts[1:] > starts[:-1])
        images = tensors.get("images")
        if (images is None) != (self._images is None):
            raise ValueError(
                "Only one of the saved replay and this one holds images. Give the saved run's task distribution."
            )
        if images is not None and self._images is not None:
            check_form("images", images, (filled, *self._images.shape[1:]), torch.uint8)
            self._images[:filled] = images
        self.n_added.copy_(n_added)
        self._starts = starts.clone()
        self._store[:filled] = store
