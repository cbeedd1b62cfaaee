"""A session that notices when the task changes."""

import math
from collections.abc import Sequence
from typing import Any

import torch

from agents import PEARLAgent
from agents.context.changes import ChangeDetector
from pearl.adaptation.familiarity import Familiarity
from pearl.adaptation.session import Change, Session

FALSE_ALARM_STEPS = 5_000
"""Least mean number of steps between two false alarms if the ratios are true"""
THRESHOLD = math.log(FALSE_ALARM_STEPS)
"""Sum of ratios, in nats, at which a change counts as noticed"""
ALLOWANCE = 0.2
"""Nats by which each ratio is lowered: where tasks look alike the true ratio is 0, and a learnt one errs by less"""
MOST_OF_ONE = 0.75 * THRESHOLD
"""Largest ratio that one transition counts: no single one is enough"""
SETTLED = 20
"""Transitions from which on a belief may be right enough to contradict it"""
MOST_RECENT = 256
"""Most transitions that a belief begins with after a change"""


class WatchfulSession(Session):
    """A session that notices when the task changes.

    It sums the log-likelihood ratios of transitions, less ``ALLOWANCE``, and begins anew where the sum falls below 0
    (CUSUM, Page 1954). The belief of that moment, the reference, is what all transitions of the sum are compared with:
    the session's own belief soon takes in what contradicts it. A belief of fewer than ``SETTLED`` transitions may be
    wrong and correct itself; until then the reference is the belief itself. If the sum passes ``THRESHOLD``, the
    belief begins again from the prior with the transitions of the sum alone. Where ratios are true, false alarms are
    at least ``FALSE_ALARM_STEPS`` apart on average (Lorden 1971).

    Args:
        agent: the meta-trained agent, whose z follows the posterior.
        rng: draws z and actions.
        detector: learnt for this agent.
        familiarity: as in ``Session``.
        kept: as in ``Session``.
    """

    agent: PEARLAgent

    def __init__(
        self,
        agent: PEARLAgent,
        rng: torch.Generator,
        detector: ChangeDetector,
        *,
        familiarity: Familiarity | None = None,
        kept: float = 1.0,
    ) -> None:
        super().__init__(agent, rng, familiarity=familiarity, kept=kept)
        self._detector = detector
        self._changes: tuple[Change, ...] = ()
        self._step = 0
        self._held = 0
        """Transitions in the belief"""
        self._sum = 0.0
        self._recent: list[Any] = []
        """The transitions of the sum"""
        self._reference: Any = None
        """The memory whose belief is the reference; None before the first transition"""

    @property
    def changes(self) -> tuple[Change, ...]:
        """The changes of the task noticed so far."""
        return self._changes

    def start_anew(self) -> None:
        """Return the belief to the prior: the task is a new one. ``changes`` stays."""
        super().start_anew()
        self._held, self._sum, self._recent, self._reference = 0, 0.0, [], None

    def _keep(self, memory: Any, step: Any, *, over: bool) -> None:
        ratio = 0.0 if self._reference is None else self._steps.ratio(self._detector, step, self._reference)
        total = max(0.0, self._sum + min(ratio, MOST_OF_ONE) - ALLOWANCE)
        recent = [*self._recent, step][-MOST_RECENT:] if total > 0 else []
        noticed, held = total > THRESHOLD, self._held + 1
        with self._draws_kept():
            if noticed:
                memory, held, total = self._anew(recent), len(recent), 0.0
            reference = memory if total == 0 or held < SETTLED else self._reference
            super()._keep(memory, step, over=over)
        if noticed:
            self._changes += (Change(self._step, self._step + 1 - len(recent)),)
            self._evidence, recent = sum(self._kept**age for age in range(len(recent))), []
        self._step, self._held, self._sum, self._recent = self._step + 1, held, total, recent
        self._reference = reference

    def _anew(self, recent: Sequence[Any]) -> Any:
        """Return the memory after ``recent`` transitions alone."""
        memory = self._steps.begin(self._rng)
        for step in recent:
            memory = self._steps.observe(memory, step)
        return memory
