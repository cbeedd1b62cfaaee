"""Gradient steps that algorithms share: soft actor-critic, and on-policy by PPO."""
