"""First steps of somebody who installed the wheel: train, save, load and adapt; then adapt a pretrained agent.

release-check runs it in a folder of its own, with a pretrained agent's checkpoint beside it.
"""

import sys
from pathlib import Path

import gymnasium as gym

import pearl

assert pearl.__file__ is not None
assert Path(pearl.__file__).is_relative_to(sys.prefix), f"{pearl.__file__} was not installed from the wheel"

model = pearl.PEARL("point-robot", pearl.load_preset("point-robot"), seed=0)
model.learn(2_000)
model.save("model")
env = gym.make("pearl/PointRobot-v0", goal=(0.3, -0.7))
for path in ("model", "pretrained"):
    policy = pearl.load(path, device="cpu").adapt(env, episodes=2)
    observation, _ = env.reset(seed=0)
    total, ended = 0.0, False
    while not ended:
        action, _ = policy.predict(observation, deterministic=True)
        observation, reward, terminated, truncated, _ = env.step(action)
        total, ended = total + float(reward), terminated or truncated
    print(f"{path}: return {total:.1f} after two episodes of adaptation")
assert total > -10, "The pretrained agent does not find its goal."
