"""Decoders of z, which train the encoder: of rewards and next observations, and of the task."""

from typing import Any

import gymnasium as gym
import torch
from torch import Tensor, nn
from torch.nn import functional

from agents.config import PEARLAgentConfig
from agents.spaces import is_image
from agents.types import TASK_NUMBERS
from encoders import mlp


class TransitionDecoder(nn.Module):
    """Predicts the reward from (s, a, s', z), and the change s' - s from (s, a, z). With weight 0 it has no parameters.

    The critics' targets are estimates of future rewards and are wrong for a long time. The decoder's targets are the
    observed transitions (VariBAD, Zintgraf et al. 2020, without its sum over whole trials).

    Args:
        observation_space: the agent's observation space.
        observation_dim: width of an observation's features.
        action_dim: width of an action as networks read it.
        latent_dim: width of z.
        config: parts of a transition to reconstruct, and the widths of the hidden layers.

    Raises:
        ValueError: the settings ask for the reconstruction of images.
    """

    def __init__(
        self,
        observation_space: gym.Space[Any],
        observation_dim: int,
        action_dim: int,
        latent_dim: int,
        config: PEARLAgentConfig,
    ) -> None:
        super().__init__()
        auxiliary = config.auxiliary
        reconstructed = auxiliary.reconstructed if auxiliary.reconstruction_weight > 0 else ()
        if is_image(observation_space) and "next_observation" in reconstructed:
            raise ValueError(
                "agent.auxiliary.reconstructed: the next_observation of an image is not reconstructed. Set it to "
                "reward alone."
            )
        known = observation_dim + action_dim + latent_dim
        self.networks = nn.ModuleDict()
        if "reward" in reconstructed:
            self.networks["reward"] = mlp(known + observation_dim, config.hidden_sizes, 1)
        if "next_observation" in reconstructed:
            self.networks["next_observation"] = mlp(known, config.hidden_sizes, observation_dim)

    def loss(self, observation: Tensor, action: Tensor, next_observation: Tensor, reward: Tensor, z: Tensor) -> Tensor:
        """Return the squared error: a mean over tasks, steps and entries, a sum over the predicted parts.

        Args:
            observation: features, (task, step, observation_dim).
            action: as networks read it, (task, step, action_dim).
            next_observation: features, (task, step, observation_dim).
            reward: (task, step).
            z: (task, step, latent_dim).
        """
        known = torch.cat([observation, action, z], dim=-1)
        loss = reward.new_zeros(())
        for name, network in self.networks.items():
            if name == "reward":
                predicted, target = network(torch.cat([known, next_observation], dim=-1)).squeeze(-1), reward
            else:
                predicted, target = network(known), next_observation - observation
            loss = loss + functional.mse_loss(predicted, target)
        return loss


class TaskDecoder(nn.Module):
    """Predicts the numbers that describe the training task from z (Humplik et al. 2019, arXiv 1905.06424).

    What a task is, is known in training. The critics learn it by their rewards alone: their targets are wrong for a
    long time, and so is what they teach the encoder. With weight 0 the decoder has no parameters.

    Args:
        latent_dim: width of z.
        config: the widths of the hidden layers.
    """

    def __init__(self, latent_dim: int, config: PEARLAgentConfig) -> None:
        super().__init__()
        self.network = None
        if config.auxiliary.task_inference > 0:
            self.network = mlp(latent_dim, config.hidden_sizes, TASK_NUMBERS)

    def loss(self, z: Tensor, numbers: Tensor) -> Tensor:
        """Return half the squared error, a Gaussian's negative log-likelihood in nats up to a constant.

        A sum over the numbers of a task, and a mean over tasks.

        Args:
            z: one sample of each task, (task, latent_dim).
            numbers: (task, ``TASK_NUMBERS``).
        """
        assert self.network is not None
        error: Tensor = self.network(z) - numbers
        return 0.5 * error.square().sum(-1).mean()
