"""Task distributions that vary the attributes of a Gymnasium environment."""

import difflib
import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.classic_control import CartPoleEnv

from pearl.tasks.distribution import Task, TaskDistribution
from pearl.tasks.limits import own_time_limit
from pearl.tasks.samplers import Sampler, Scale, is_sampler

_PROBE_SEED = 0
_PARENTS = ("", "model", "model.opt")


class Perturbed(TaskDistribution):
    """A Gymnasium environment whose attributes differ from task to task.

    A task is ``{"g": 9.1, ...}``: the attribute's value, or the factor if the sampler is a `Scale`. Attributes are
    set on the unwrapped environment before each reset, so that they survive it. Factors multiply the environment's
    original value, so that they do not compound.

    Some derived values are updated: an attribute that is also a constructor argument is passed to the constructor, and
    CartPole's ``total_mass`` and ``polemass_length`` and the constants of a MuJoCo model are recomputed. All other
    derived values, including the spaces, stay the same: vary them too, or give the environment a constructor argument.

    Args:
        env_id: id of the environment, for `gymnasium.make`.
        parameters: samplers by attribute; a path names an attribute of an inner object: ``"model.body_mass"``.
        tasks: a fixed set of tasks that replaces samplers; each gives values of the same attributes.
        name: the family's name; "perturbed-" plus the environment's id if None.
        make_kwargs: further arguments of `gymnasium.make`.
        max_episode_steps: time limit in steps; the environment's own if None.

    Raises:
        AttributeError: the environment has no such attribute, or it cannot be set; the message suggests close names.
        TypeError: a parameter has no sampler, or its values are not of the attribute's kind.
        ValueError: the environment has no time limit, a value has another shape than the attribute, a reset undoes it,
            or the fixed tasks differ in their attributes or repeat.
    """

    def __init__(
        self,
        env_id: str,
        parameters: Mapping[str, Sampler] | None = None,
        *,
        tasks: Sequence[Mapping[str, Any] | Task] | None = None,
        name: str | None = None,
        make_kwargs: Mapping[str, Any] | None = None,
        max_episode_steps: int | None = None,
    ) -> None:
        if (parameters is None) == (tasks is None):
            raise ValueError("Give either samplers, such as {'g': Uniform(5, 15)}, or a list of tasks.")
        self.env_id = env_id
        self.name = f"perturbed-{env_id}" if name is None else name
        self.parameters = _checked_parameters(parameters) if parameters is not None else {}
        self.tasks = _checked_tasks(tasks) if tasks is not None else None
        self.make_kwargs = dict(make_kwargs or {})
        if max_episode_steps is not None:
            self.make_kwargs["max_episode_steps"] = max_episode_steps
        paths = list(self.parameters) if self.tasks is None else list(self.tasks[0].params)
        self._own: dict[str, Any] = {}
        self._constructor_arguments: set[str] = set()
        self._read_environment(paths)
        for task in self.tasks or self.sample(1, np.random.default_rng(_PROBE_SEED)):
            self._check(task)

    def sample(self, n: int, rng: np.random.Generator) -> list[Task]:
        """Draw ``n`` tasks; the same generator state gives the same tasks. Fixed tasks are drawn without replacement.

        Raises:
            ValueError: there are fewer fixed tasks than ``n``.
        """
        if self.tasks is not None:
            if n > len(self.tasks):
                raise ValueError(f"{self.name!r} has {len(self.tasks)} fixed tasks, asked for {n} different ones.")
            return [self.tasks[i] for i in rng.permutation(len(self.tasks))[:n]]
        return [Task({path: sampler.sample(rng) for path, sampler in self.parameters.items()}) for _ in range(n)]

    def make_env(self, task: Task, *, render_mode: str | None = None) -> gym.Env[Any, Any]:
        """Build the environment of one task, with its time limit.

        Raises:
            TypeError, ValueError: the task's parameters are not this family's.
        """
        values = self._values(task)
        arguments = {name: values[name] for name in values if name in self._constructor_arguments}
        env = gym.make(self.env_id, render_mode=render_mode, **self.make_kwargs | arguments)
        return _HeldAttributes(env, values)

    def change_task(self, env: gym.Env[Any, Any], task: Task) -> bool:
        """Set the attributes of a running environment.

        Return False if one of them is a constructor argument: the constructor may compute further attributes from it.
        """
        values = self._values(task)
        if self._constructor_arguments or not isinstance(env, _HeldAttributes):
            return False
        env.hold(values)
        return True

    def _read_environment(self, paths: Sequence[str]) -> None:
        env = gym.make(self.env_id, **self.make_kwargs)
        if own_time_limit(env) is None:
            env.close()
            raise ValueError(
                f"{self.env_id} has no time limit, so an episode might never end. Pass max_episode_steps, for example "
                "perturbed(..., max_episode_steps=200)."
            )
        bare = env.unwrapped
        self.simulators = ("mujoco",) if _is_mujoco(bare) else ()
        self._own = {path: _read_attribute(bare, path) for path in paths}
        given = env.spec.kwargs if env.spec is not None else {}
        for name, parameter in inspect.signature(type(bare).__init__).parameters.items():
            # A constructor argument may have another unit than the attribute of the same name: then it is left alone.
            if name in self._own and np.array_equal(given.get(name, parameter.default), self._own[name]):
                self._constructor_arguments.add(name)
        env.close()

    def _values(self, task: Task) -> dict[str, Any]:
        params = task.to_json()
        if params.keys() != self._own.keys():
            raise ValueError(f"A task of {self.name!r} has the parameters {sorted(self._own)}, got {sorted(params)}.")
        return {path: self._value(path, params[path]) for path in self._own}

    def _value(self, path: str, given: Any) -> Any:
        own = self._own[path]
        if isinstance(self.parameters.get(path), Scale):
            return own * given
        if isinstance(own, np.ndarray):
            if np.shape(given) != own.shape:
                raise ValueError(
                    f"Attribute {path!r} of {self.env_id} is an array of the shape {own.shape}, got {given!r}. Give a "
                    "list of that shape, or multiply the whole array: Scale(LogUniform(0.5, 2.0))."
                )
            return np.array(given, np.float64 if own.dtype.kind in "iu" else own.dtype)
        kinds = (bool,) if isinstance(own, bool | np.bool_) else (str,) if isinstance(own, str) else (int, float)
        if not isinstance(given, kinds) or (isinstance(given, bool) and bool not in kinds):
            raise TypeError(f"Attribute {path!r} of {self.env_id} is {own!r}, a task cannot make it {given!r}.")
        return given

    def _check(self, task: Task) -> None:
        for path, own in self._own.items():
            if isinstance(self.parameters.get(path), Scale) and isinstance(own, bool | str | np.bool_):
                raise TypeError(f"Attribute {path!r} of {self.env_id} is {own!r}, which a Scale cannot multiply.")
        try:
            env = self.make_env(task)
        except AttributeError as error:
            raise AttributeError(f"An attribute of {self.env_id} cannot be set ({error}); vary another one.") from error
        env.reset(seed=_PROBE_SEED)
        for path, value in self._values(task).items():
            found = _read_attribute(env.unwrapped, path)
            if not np.array_equal(found, value):
                env.close()
                raise ValueError(
                    f"A reset of {self.env_id} overwrites {path!r}: it was set to {value!r} and is {found!r} "
                    "afterwards. Vary what the environment computes it from."
                )
        env.close()


perturbed = Perturbed
"""Turn an environment's attributes into a distribution: ``perturbed("Pendulum-v1", {"g": Uniform(5, 15)})``."""


def _checked_parameters(parameters: Mapping[str, Sampler]) -> dict[str, Sampler]:
    if not parameters:
        raise ValueError("At least one attribute must vary, got no parameters.")
    for path, sampler in parameters.items():
        if not is_sampler(sampler):
            raise TypeError(
                f"Parameter {path!r} needs a sampler (Uniform, LogUniform, Categorical, Scale, or an object with "
                f"sample(rng)), got {sampler!r}. Put constant arguments into make_kwargs."
            )
    return dict(parameters)


def _checked_tasks(tasks: Sequence[Mapping[str, Any] | Task]) -> list[Task]:
    checked = [task if isinstance(task, Task) else Task(task) for task in tasks]
    if not checked or not checked[0].params:
        raise ValueError(f"The list of tasks must not be empty, nor its tasks, got {list(tasks)!r}.")
    for task in checked:
        if task.params.keys() != checked[0].params.keys():
            raise ValueError(f"Every task needs the same parameters, got ({checked[0]}) and ({task}).")
    if len(set(checked)) < len(checked):
        twice = next(task for task in checked if checked.count(task) > 1)
        raise ValueError(f"The tasks must differ, got ({twice}) more than once.")
    return checked


class _HeldAttributes(gym.Wrapper[Any, Any, Any, Any]):
    """Wrapper that sets attributes of the unwrapped environment before each reset.

    Args:
        env: the environment.
        values: the attributes' values by path, see `_read_attribute`.
    """

    def __init__(self, env: gym.Env[Any, Any], values: Mapping[str, Any]) -> None:
        super().__init__(env)
        self.hold(values)

    def hold(self, values: Mapping[str, Any]) -> None:
        """Set other values, which later resets keep; the state of a running environment stays as it is."""
        self.values = dict(values)
        _hold(self.env.unwrapped, self.values)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Set the attributes, then begin an episode."""
        _hold(self.env.unwrapped, self.values)
        return self.env.reset(seed=seed, options=options)


def _hold(env: gym.Env[Any, Any], values: Mapping[str, Any]) -> None:
    """Set attributes and recompute the derived values that are known.

    These are CartPole's ``total_mass`` and ``polemass_length``, and the constants that MuJoCo derives from a model.

    Args:
        env: an unwrapped environment.
        values: the attributes' values by path, see `_read_attribute`.
    """
    _set_all(env, values)
    if isinstance(env, CartPoleEnv):
        derived = {"total_mass": env.masspole + env.masscart, "polemass_length": env.masspole * env.length}
        _set_all(env, {name: value for name, value in derived.items() if name not in values})
    if any(path.startswith("model.") for path in values) and _is_mujoco(env):
        import mujoco

        model = env.get_wrapper_attr("model")
        # Not the environment's own data: mj_setConst puts the robot into its initial pose.
        mujoco.mj_setConst(model, mujoco.MjData(model))
        # mj_setConst overwrites derived constants, which may be among the values.
        _set_all(env, values)


def _read_attribute(env: gym.Env[Any, Any], path: str) -> Any:
    """Return an attribute's present value; arrays are copied.

    Args:
        env: an unwrapped environment.
        path: a name, or names joined by dots: ``"model.opt.timestep"``.

    Raises:
        AttributeError: no such attribute; the message suggests close names.
        TypeError: the attribute is not a number, array of numbers, string or boolean.
    """
    value: Any = env
    for name in path.split("."):
        if not hasattr(value, name):
            raise AttributeError(_unknown(env, path))
        value = getattr(value, name)
    if not _is_variable(value):
        raise TypeError(
            f"Attribute {path!r} of {type(env).__name__} is {value!r}; only numbers, arrays of numbers, strings and "
            "booleans can be varied."
        )
    return value.copy() if isinstance(value, np.ndarray) else value


def _set_all(env: gym.Env[Any, Any], values: Mapping[str, Any]) -> None:
    for path, value in values.items():
        *parents, name = path.split(".")
        owner: Any = env
        for parent in parents:
            owner = getattr(owner, parent)
        # A copy: an environment may write into its own array.
        setattr(owner, name, value.copy() if isinstance(value, np.ndarray) else value)


def _is_mujoco(env: gym.Env[Any, Any]) -> bool:
    return all(type(getattr(env, name, None)).__module__.startswith("mujoco") for name in ("model", "data"))


def _is_variable(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return value.dtype.kind in "iufb"
    return isinstance(value, bool | int | float | str | np.number | np.bool_)


def _is_number(value: Any) -> bool:
    return _is_variable(value) and not isinstance(value, bool | str)


def _unknown(env: gym.Env[Any, Any], path: str) -> str:
    known = list(_numeric_paths(env))
    leaf = path.rpartition(".")[2]
    near = [name for name in known if name.rpartition(".")[2] == leaf]
    by_lower_case = {name.lower(): name for name in known}
    close = difflib.get_close_matches(path.lower(), by_lower_case, n=3, cutoff=0.6)
    near += [by_lower_case[name] for name in close if by_lower_case[name] not in near]
    hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    own = ", ".join(name for name in known if "." not in name and not name.startswith("_"))
    return f"{type(env).__name__} has no attribute {path!r}.{hint} Its own numbers: {own}."


def _numeric_paths(env: gym.Env[Any, Any]) -> Iterator[str]:
    for parent in _PARENTS:
        owner: Any = env
        for name in parent.split(".") if parent else ():
            owner = getattr(owner, name, None)
        for name in dir(owner):
            if not name.startswith(("__", "np_random")) and _is_number(getattr(owner, name, None)):
                yield f"{parent}.{name}" if parent else name
