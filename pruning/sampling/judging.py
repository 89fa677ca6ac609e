"""Judge the answers of a log with a verifier of Winnow, in the place of the rewards that the log has."""

from __future__ import annotations

from math import nan

from pruning.errors import DataError
from pruning.interop.answers.log import Log
from pruning.sampling import verifiers
from pruning.sampling.pool import Pool


def judge(log: Log, spec: str, allow_code: bool = False) -> None:
    """Replace the rewards by 1, 0, or nan where there is no answer or no verdict. The keys are those of the log.

    Raises UsageError for a verifier that cannot be, DataError for a log without answers or keys and for a key that cannot be read.
    """
    verifiers.check(spec, allow_code)
    needs_key = verifiers.needs_key(spec)
    there = [sample for sample in log.samples if sample.answer is not None and not (needs_key and sample.key is None)]
    if not there:
        first = log.samples[0]
        lacking = "answers" if first.answer is None else "keys"
        raise DataError(f"{first.where} and all after it have no {lacking} to verify; import the log without --verify, by its rewards.")
    with Pool(spec) as pool:
        keys = {sample.key: sample for sample in reversed(there) if sample.key is not None}
        for position, _ in pool.unreadable([*keys]):
            key, sample = [*keys.items()][position]
            raise DataError(f"{sample.where} has the key {key[:60]!r}, which the verifier {spec} cannot read; use another verifier.")
        verdicts = pool.verify([(sample.answer or "", sample.key or "") for sample in there])
    for sample in log.samples:
        sample.reward = nan
    for sample, verdict in zip(there, verdicts, strict=True):
        sample.reward = nan if verdict.right is None else float(verdict.right)
    log.warnings.append(f"The answers were judged by {spec}, not by the rewards of the log.")
