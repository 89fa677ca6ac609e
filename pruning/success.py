"""When a generated answer counts as right: a rule on its wrong tokens or its loss, chosen after the recording. Pure.

The recording holds how many tokens of each answer were wrong, and its mean loss. A rule turns these into right and wrong looks; like the
burn-in it is a setting of the view, so that nothing has to be trained again to change it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from pruning.errors import UsageError

AUTO, EXACT = "auto", "exact"
TOKENS, LOSS = "tokens>=", "loss<="
HELP = "exact (no wrong token), tokens>=0.9 (at least that share of its tokens is right), loss<=0.5 (nats a token, mean), or auto"

INFORMATIVE = (0.05, 0.95)
"""Share of exact looks between which `exact` tells examples apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Success:
    """A rule that says when a look at an answer is right."""

    name: str
    """As typed, e.g. "exact", "tokens>=20/27", "loss<=0.5"."""
    share: Fraction | None = None
    """Smallest share of right tokens, 0..1; None for a rule on the loss."""
    most_loss: float = 0.0
    """Largest mean loss in nats a token, for a rule on the loss."""

    def right(self, wrong: NDArray[np.integer], loss: NDArray[np.floating], length: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Return where a look is right, in the shape of `wrong` and `loss`, [..., N]; `length` is [N] tokens of each answer.

        >>> Success(name="tokens>=2/3", share=Fraction(2, 3)).right(np.array([0, 1, 2]), np.zeros(3), np.array([3, 3, 3]))
        array([ True,  True, False])
        """
        if self.share is None:
            return np.asarray(loss <= self.most_loss)
        return np.asarray((length - wrong) * self.share.denominator >= self.share.numerator * length)

    @property
    def words(self) -> str:
        """The rule in a sentence.

        >>> Success(name="exact", share=Fraction(1)).words
        'Right = every token of the answer is the most likely one: greedy decoding writes the answer.'
        """
        if self.share is None:
            return f"Right = a mean loss of at most {self.most_loss:g} nats a token (perplexity {np.exp(self.most_loss):.3g})."
        if self.share == 1:
            return "Right = every token of the answer is the most likely one: greedy decoding writes the answer."
        exactly = "" if self.share.denominator in (1, 2, 4, 5, 10, 20, 25, 50, 100) else f" (exactly {self.share})"
        return f"Right = at least {float(self.share):.0%} of the answer's tokens are the most likely ones{exactly}."


EXACT_RULE = Success(name=EXACT, share=Fraction(1))


def parse(name: str) -> Success:
    """Return the rule of that name. Raises UsageError for another name or a threshold out of range.

    >>> parse("tokens>=74%").share, parse("loss<=0.5").most_loss
    (Fraction(37, 50), 0.5)
    """
    word = name.replace(" ", "").lower()
    if word == EXACT:
        return EXACT_RULE
    number = word.removeprefix(TOKENS).removeprefix(LOSS)
    value = _number(number)
    if word.startswith(TOKENS) and value is not None and 0 < value <= 1:
        return Success(name=f"{TOKENS}{number}", share=value)
    if word.startswith(LOSS) and value is not None:
        return Success(name=f"{LOSS}{number}", most_loss=float(value))
    raise UsageError(f"success must be {HELP}; got {name!r}.", "success")


def _number(text: str) -> Fraction | None:
    """Return a decimal, a fraction or a percentage as an exact fraction; None for anything else."""
    matched = re.fullmatch(r"(\d{1,9}(?:\.\d{0,9})?|\.\d{1,9})(?:/(\d{1,9})|(%))?", text)
    if matched is None or (matched[2] is not None and int(matched[2]) == 0):
        return None
    return Fraction(matched[1]) / (int(matched[2]) if matched[2] else 100 if matched[3] else 1)


def usual(wrong: NDArray[np.integer], length: NDArray[np.integer]) -> tuple[Success, str]:
    """Return the default rule of a recording, [R, E, N] wrong tokens and [N] tokens of each answer, and why it is that, in a sentence.

    `exact` where 5 to 95% of all looks are exact, burn-in or not; else the share of right tokens that the median look reaches, kept as
    an exact fraction, so that about half of the looks are right.
    """
    exact = float((wrong == 0).mean())
    if INFORMATIVE[0] <= exact <= INFORMATIVE[1]:
        return EXACT_RULE, f"{exact:.0%} of the looks are exact, which tells examples apart."
    if exact > INFORMATIVE[1]:
        known = f"{exact:.0%} of the looks are exact: the model has learned this set, and H tells little; fewer epochs tell more."
    else:
        known = f"Only {exact:.1%} of the looks are exact, so the median look sets the bar."
    share = median_share(wrong, length)
    return Success(name=f"{TOKENS}{share}", share=share), known


def median_share(wrong: NDArray[np.integer], length: NDArray[np.integer]) -> Fraction:
    """Return the share of right tokens of the median look; of two middle looks the better one, at least one token in its length."""
    lengths = np.broadcast_to(length, wrong.shape).reshape(-1)
    right = (lengths - wrong.reshape(-1)).astype(np.int64)
    middle = int(np.argsort(right / lengths, kind="stable")[len(right) // 2])
    return Fraction(max(1, int(right[middle])), int(lengths[middle]))


def right_looks_histogram(right: NDArray[np.bool_]) -> NDArray[np.int64]:
    """[R*E + 1] examples with 0 .. R*E right looks, from [R, E, N]; the histogram of right looks.

    >>> right_looks_histogram(np.array([[[True, False], [True, True]]])).tolist()
    [0, 1, 1]
    """
    runs, epochs, _ = right.shape
    return np.bincount(right.sum(axis=(0, 1)), minlength=runs * epochs + 1)
