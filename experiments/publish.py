"""Turn a finished run into a pretrained agent: weights, config and tasks without training state, and a model card.

python experiments/publish.py runs/reproduce/point-robot-seed0
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro
from command_line import errors_in_one_line, path_argument
from tyro.conf import Positional

import pearl
from pearl.adaptation.policy import infers_task
from pearl.config.reading import non_default_settings
from pearl.config.run import PEARLConfig
from pearl.evaluation.statistics import CVAR_TASKS
from pearl.files.access import write_text
from pearl.process.output import make_console, protect_output
from pearl.runs.run import RunError, read_json

CARD = """# {family}

A PEARL agent, meta-trained on `{family}`: {description}. It adapts to new tasks of the family without a gradient.

```python
import pearl

model = pearl.load("pretrained/{family}")
policy = model.adapt(env, episodes={exploration_episodes})
```

| | |
|---|---|
| task distribution | {n_train} training tasks; for example {examples} |
| environment steps | {env_steps:,} |
| gradient steps | {gradient_steps:,} |
| training time | {wall_s:.0f} s, CPU threads: {threads} |
| seed | {seed} |
| test tasks | {n_tasks}, {kinship} |
| protocol | {exploration_episodes} episodes of exploration, then episode {episodes} on the posterior mean |
| return of episode 1 to {episodes} | {returns} |
{following}| worst 5 % of tasks (CVaR), return of episode 1 to {episodes} | {worst} |
{score_rows}| commit | {commit} |
| versions | {versions} |

Limits: the figures are of this one seed; `results/{family}` has several. Tasks outside the family are out of its reach.

Settings, in which it differs from the defaults:

```json
{settings}
```
"""


def main(
    run: Annotated[Positional[Path], path_argument("RUN")],
    /,
    out: Annotated[Path, path_argument("--out")] = Path("pretrained"),
) -> None:
    """Write a pretrained agent and its model card.

    Args:
        run: folder of a finished run of PEARL by reproduce.py, study.py or compare.py.
        out: folder of the pretrained agents.
    """
    model = pearl.load(run, device="cpu")
    if model.config.algorithm != PEARLConfig.algorithm:
        raise RunError(f"{run} holds an agent of {model.config.algorithm}; the card describes PEARL's agents only.")
    result = read_json(run / "result.json")
    folder = out / model.family
    if infers_task(model.agent) and model.familiarity is None and len(model.train_tasks) > 1:
        model.fit_change_detector(seed=model.seed)
    model.save(folder, training_state=False)
    test = result["test"]
    episodes = len(test["return_per_episode"])
    random = test["references"]["random"]
    if test["score"] is None:
        score_rows = f"| random policy | {random:.2f} |\n"
    else:
        low, high = test["score_ci95"]
        score_rows = (
            f"| random policy, task known | {random:.2f}, {test['references']['oracle']:.2f} |\n"
            f"| **score of episode {episodes}** | **{test['score']:.3f}**, 95 % interval over tasks {low:.3f} to "
            f"{high:.3f} |\n"
        )
    if test.get("success_per_episode") is not None:
        successes = " → ".join(f"{share:.0%}" for share in test["success_per_episode"])
        score_rows += f"| **success** of episode 1 to {episodes} | {successes} |\n"
    card = CARD.format(
        family=model.family,
        description=pearl.families()[model.family],
        examples="; ".join(str(task) for task in model.train_tasks[:2]),
        n_train=len(model.train_tasks),
        episodes=episodes,
        exploration_episodes=test["exploration_episodes"],
        returns=_by_episode(test["return_per_episode"]),
        following=_following(test),
        worst=_worst(test),
        score_rows=score_rows,
        n_tasks=test["n_tasks"],
        kinship="the training tasks: there are no others" if test["same_tasks"] else "none of them a training task",
        settings=json.dumps(non_default_settings(model.config), indent=2),
        **{name: result[name] for name in ("env_steps", "gradient_steps", "wall_s", "seed", "commit")},
        threads=result.get("threads", 1),
        versions=", ".join(f"{name} {version}" for name, version in result["versions"].items()),
    )
    write_text(folder / "README.md", card)
    make_console().print(f"  {folder}", highlight=False, soft_wrap=True)


def _following(test: Mapping[str, Any]) -> str:
    """Return the row of the first episode if z moves by the other rule; nothing for runs whose result lacks it."""
    rules = {"following": "z follows the posterior as in sessions", "kept": "z is kept as in the paper"}
    rows = [
        f"| return of episode 1, {rule} | {test[name]:.2f} |\n"
        for name, rule in rules.items()
        if test.get(name) is not None
    ]
    return "".join(rows)


def _worst(test: Mapping[str, Any]) -> str:
    """Return the cell of the worst tasks: "–" for runs whose result lacks them, a sentence if the tasks are too few."""
    if "cvar_per_episode" not in test:
        return "–"
    if test["cvar_per_episode"] is None:
        return f"{test['n_tasks']} test tasks are too few, {CVAR_TASKS} different ones are needed"
    return _by_episode(test["cvar_per_episode"])


def _by_episode(returns: Sequence[float]) -> str:
    return " → ".join(f"{value:.2f}" for value in returns)


if __name__ == "__main__":
    protect_output()
    sys.exit(errors_in_one_line(tyro.cli)(main))
