"""Sample answers to every prompt, judge them, and make the experiment. What was sampled is never sampled again."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from math import nan
from pathlib import Path
from typing import Any

from pruning.data import models
from pruning.data.examples import Examples, load_training
from pruning.data.tasks.rollouts import SAMPLED
from pruning.errors import Cancelled, DataError, UsageError
from pruning.experiment import Experiment
from pruning.interop.answers import importing
from pruning.interop.answers.log import Log, Sample
from pruning.sampling import verifiers
from pruning.sampling.asking import Answers, Asked, Embedded, Endpoint, all_alike, seed_of
from pruning.sampling.log import AnswerLog, Line
from pruning.sampling.pool import Pool, Verdict
from pruning.settings import Settings

Listener = Callable[[str], None]
"""Called with a sentence about the progress."""

AT_ONCE = 16
"""Prompts asked of a server at the same time."""

BATCH = 32
"""Prompts whose answers a server gives are judged and written together; a model in this process writes each at once."""

SAID = 8
"""Prompts between two sentences about a model in this process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Everything that a sampling run is asked to do."""

    data: str
    asked: Asked
    verify: str
    stages: tuple[int, ...] = (8,)
    """Answers to each prompt; each further number is added only where all or none of the answers so far are right."""
    endpoint: str = ""
    """Base URL of a server, such as http://127.0.0.1:8000/v1; empty = the model is loaded here."""
    chance: float = 0.0
    allow_code: bool = False
    verify_again: bool = False
    """Judge the answers there are again, and sample none."""
    processes: int = 2
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Further settings of the data: columns, id_column, drop_invalid."""

    def __post_init__(self) -> None:
        if not self.stages or min(self.stages) < 1:
            raise UsageError(f"samples must be at least 1 at each stage, got {', '.join(map(str, self.stages)) or 'none'}.", "samples")
        verifiers.check(self.verify, self.allow_code)


def sample(request: Request, directory: str | Path, listen: Listener = lambda sentence: None) -> Experiment:
    """Sample, judge and record; a run that was stopped continues with the same request.

    The answers are in DIRECTORY.answers.jsonl, a line each. Raises DataError naming the row of a key that its verifier cannot read, and
    what the server or the model raises; the answers so far are kept.
    """
    root = Path(directory)
    settings = Settings(data=request.data, model="", task=SAMPLED).with_changes(**request.settings)
    examples = load_training(settings)
    prompts, keys = examples.table["prompt"].to_pylist(), _keys(examples, request.verify)
    log = AnswerLog(root.with_name(f"{root.name}.answers.jsonl"), _sampled(request, examples))
    try:
        _fill(request, examples, prompts, keys, log, listen)
    except KeyboardInterrupt:
        raise Cancelled(f"Stopped; the {len(log.lines):,} answers so far are kept, run the same command again to continue.") from None
    return _record(request, examples.table["row"].to_pylist(), root, log)


def _fill(request: Request, examples: Examples, prompts: Sequence[str], keys: Sequence[str], log: AnswerLog, listen: Listener) -> None:
    with Pool(request.verify, request.processes) as pool:
        _check_keys(pool, request.verify, keys, examples)
        if request.verify_again or any(line.verifier != request.verify for line in log.lines):
            listen(f"Judging {len(log.lines):,} answers again.")
            log.replace(_judged(pool, request.verify, log.lines, keys))
        if not request.verify_again:
            _sample(request, prompts, keys, log, pool, listen)


def _sampled(request: Request, examples: Examples) -> dict[str, Any]:
    """Return what the answers depend on; any other value is another recording."""
    return {**asdict(request.asked), "endpoint": request.endpoint, "data": examples.fingerprint}


def _keys(examples: Examples, spec: str) -> list[str]:
    """Return [N] each row's key, by position; an empty one where it has none and the verifier needs none."""
    there = examples.table["key"].to_pylist() if "key" in examples.table.column_names else [None] * len(examples)
    if verifiers.needs_key(spec):
        lacking = next((position for position, key in enumerate(there) if key is None), None)
        if lacking is not None:
            raise DataError(
                f"{examples.source} row {_row(examples, lacking) + 1} has no key to verify answers with; name the keys' column "
                "(--column key=COLUMN)."
            )
    return ["" if key is None else key for key in there]


def _row(examples: Examples, position: int) -> int:
    return int(examples.table["row"][position].as_py())


def _check_keys(pool: Pool, spec: str, keys: Sequence[str], examples: Examples) -> None:
    if wrong := pool.unreadable(keys):
        position, verdict = wrong[0]
        more = f" ({len(wrong)} keys like it)" if len(wrong) > 1 else ""
        raise DataError(
            f"{examples.source} row {_row(examples, position) + 1} has the key {keys[position][:60]!r}, which the verifier {spec} cannot "
            f"check{f' ({verdict.why})' if verdict.why else ' even against itself'}{more}; fix the key, or use another verifier."
        )


def _judged(pool: Pool, spec: str, lines: Sequence[Line], keys: Sequence[str]) -> list[Line]:
    verdicts: list[Verdict] = pool.verify([(line.answer, keys[line.row]) for line in lines])
    return [replace(line, right=verdict.right, why=verdict.why, verifier=spec) for line, verdict in zip(lines, verdicts, strict=True)]


def _sample(request: Request, prompts: Sequence[str], keys: Sequence[str], log: AnswerLog, pool: Pool, listen: Listener) -> None:
    model: Answers | None = None
    wanted, right = 0, sum(line.right is True for line in log.lines)
    for stage, more in enumerate(request.stages):
        wanted += more
        todo = [(row, have, wanted - have) for row, have in enumerate(_have(log, len(prompts), stage)) if 0 <= have < wanted]
        if not todo:
            continue
        if model is None:
            model = (
                Endpoint(request.endpoint, request.asked)
                if request.endpoint
                else Embedded(models.locate(request.asked.model), request.asked)
            )
        size = BATCH if request.endpoint else 1
        for start in range(0, len(todo), size):
            part = todo[start : start + size]
            lines = _judged(pool, request.verify, _answers(request, model, part, prompts, log), keys)
            log.add(lines)
            right += sum(line.right is True for line in lines)
            asked = start + len(part)
            if asked == len(todo) or asked % (BATCH if request.endpoint else SAID) == 0:
                listen(f"{asked:,} of {len(todo):,} prompts, stage {stage + 1}: {right:,} of {len(log.lines):,} right.")


def _have(log: AnswerLog, rows: int, stage: int) -> list[int]:
    """Return [N] the number of answers so far; -1 for prompts that later stages leave out: some answers are right, some not."""
    right: list[list[bool | None]] = [[] for _ in range(rows)]
    for line in log.lines:
        right[line.row].append(line.right)
    return [-1 if stage and True in own and False in own else len(own) for own in right]


def _answers(request: Request, model: Answers, part: Sequence[tuple[int, int, int]], prompts: Sequence[str], log: AnswerLog) -> list[Line]:
    """Return answers: for each (row, answers so far, answers wanted) of `part`, as many as are wanted.

    What others gave is kept where one fails: it is appended before the error continues.
    """

    def one(row: int, have: int, count: int) -> list[Line]:
        lines: list[Line] = []
        while len(lines) < count:
            number = have + len(lines)
            said = model.answer(prompts[row], count - len(lines), seed_of(request.asked.seed, row, number))
            lines += [
                Line(row=row, sample=number + i, seed=one.seed, answer=one.text, cut=one.cut, tokens=one.tokens, time=round(time.time(), 3))
                for i, one in enumerate(said)
            ]
        return lines

    if not request.endpoint:
        return [line for each in part for line in one(*each)]
    with ThreadPoolExecutor(AT_ONCE) as threads:
        futures = [threads.submit(one, *each) for each in part]
    failed = next((error for future in futures if (error := future.exception()) is not None), None)
    found = [line for future in futures if future.exception() is None for line in future.result()]
    if failed is not None:
        log.add(found)
        raise failed
    return found


def _record(request: Request, rows: Sequence[int], root: Path, log: AnswerLog) -> Experiment:
    if not log.lines:
        raise DataError(f"{log.path} has no answers; leave --verify-again out to sample some.")
    samples = [
        Sample(
            where=f"{log.path} line {number}",
            prompt="",
            row=rows[line.row],
            answer=line.answer,
            reward=nan if line.right is None else float(line.right),
            tokens=line.tokens,
            cut=line.cut,
        )
        for number, line in enumerate(log.lines, 2)
    ]
    warnings = []
    by_row: dict[int, list[str]] = {}
    for line in log.lines:
        by_row.setdefault(line.row, []).append(line.answer)
    if all_alike([*by_row.values()], request.asked.temperature):
        warnings.append("All answers to each prompt are alike although the temperature is above 0: the server seems not to sample.")
    reasons = [line.why for line in log.lines if line.right is None]
    if reasons:
        warnings.append(f"{len(reasons):,} of {len(log.lines):,} answers have no verdict, the first because of its {reasons[0]}.")
    about = {
        "sampling": {**asdict(request.asked), "endpoint": request.endpoint, "stages": list(request.stages)},
        "verifier": request.verify,
    }
    options = importing.Options(data=request.data, chance=request.chance, settings=request.settings)
    return importing.record(Log(tool=importing.SAMPLE, samples=samples, warnings=warnings), root, options, about=about, again=True)
