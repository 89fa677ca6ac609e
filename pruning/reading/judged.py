"""A stored experiment whose looks at generated answers are judged by a success rule, a setting of the view like the burn-in."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from pruning import success
from pruning.records import Dynamics
from pruning.store.base import LENGTH
from pruning.store.dynamics import Recording
from pruning.store.shared import shared
from pruning.store.stored import Stored
from pruning.success import Success


class Judged(Stored):
    """A stored experiment, whose recording says what the rule `asked_success` says; other kinds than generation have no rule."""

    asked_success: str | None = None
    """The rule by name; None = the experiment's own, which is "auto" unless its settings name one."""

    @property
    def success(self) -> Success | None:
        """The rule in force; None where answers are not generated, or their lengths are not recorded, so that exact ones count."""
        found = self._found_success
        return None if found is None else found[0]

    @property
    def success_reason(self) -> str:
        """The rule in plain words, and why it is that where it was not asked for; empty where there is none."""
        found = self._found_success
        return "" if found is None else " ".join(filter(None, [found[0].words, found[1]]))

    @property
    def _found_success(self) -> tuple[Success, str] | None:
        if self.answer_lengths is None or not self.finished_runs():
            return None
        name = self.asked_success or self.settings.success
        return self._usual_success if name == success.AUTO else (success.parse(name), "")

    @shared
    def answer_lengths(self) -> NDArray[np.int64] | None:
        """[N] tokens of each generated answer; None where they are not recorded."""
        found = self.extras.get(LENGTH)
        return None if found is None else found.astype(np.int64)

    @shared
    def _usual_success(self) -> tuple[Success, str] | None:
        wrong = self.recorded.wrong
        if wrong is None or self.answer_lengths is None:
            return None
        return success.usual(wrong, self.answer_lengths)

    @property
    def dynamics(self) -> Dynamics:
        """The recording of all complete runs, its looks judged by the rule in force; see `Stored.recorded`."""
        rule, recorded = self.success, self.recorded
        if rule is None or self.answer_lengths is None or not isinstance(recorded, Recording):
            return recorded
        kept: dict[str, Recording] = self._shared.setdefault("ruled", {})
        if rule.name not in kept:
            kept[rule.name] = recorded.ruled(partial(rule.right, length=self.answer_lengths))
        return kept[rule.name]
