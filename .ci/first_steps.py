"""First steps of somebody who installed the wheel: train, save, load and adapt; then adapt a pretrained agent.

release-check runs it in a folder of its own, with a pretrained agent's checkpoint beside it.
"""

import sys
from pathlib import Path

import gymnasium as gym
from stable_baselines3.common.evaluation import evaluate_policy

import pearl

assert pearl.__file__ is not None
assert Path(pearl.__file__).is_relative_to(sys.prefix), f"{pearl.__file__} was not installed from the wheel"

model = pearl.PEARL("point-robot", pearl.load_preset("point-robot"), seed=0)
model.learn(2_000)
model.save("model")

env = gym.make("pearl/PointRobot-v0", goal=(0.3, -0.7))
returns = {}
for path in ("model", "pretrained"):
    policy = pearl.load(path, device="cpu").adapt(env, episodes=2)
    returns[path], _ = evaluate_policy(policy, env, n_eval_episodes=20, deterministic=True, warn=False)
    print(f"{path}: mean return {returns[path]:.2f} after two episodes of adaptation")
assert returns["pretrained"] > -6, "The pretrained agent does not find its goal."
