"""experiment.json: settings and fingerprints of a recording, written before any work."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pruning import __version__
from pruning.data.models import changed_parts
from pruning.errors import ExperimentError, UsageError
from pruning.settings import LATER, Settings

if TYPE_CHECKING:
    from pruning.data.examples import Examples

SEAL = re.compile(rb',\n  "sha256": "([0-9a-f]{64})"\n}\n\Z')
"""The end of a manifest: its own sha256."""

FORMAT = 1
"""Version of the folder's format. A newer one is refused."""

OLDEST = 1
"""The oldest version that is read."""

MEASURED_WITH = "measured_with"
"""Entry of experiment.json: other models that subsets were measured with, by fingerprint."""

PARAMETERS = "parameters"
"""Entry of a model in experiment.json: its number of parameters. Older experiments lack it."""

OWN_MODEL = "own_model"
"""Entry of a reading with another model: the fingerprint of the model that scored the data. Never written."""

OWN_EPOCHS = "own_epochs"
"""Entry of a reading with another model: the epochs of the scoring runs. Never written."""

LIBRARIES = ("torch", "transformers", "datasets", "numpy", "pyarrow")

AFTERWARDS = (
    "data",
    "evaluation",
    "model",
    "seeds",
    "burn_in",
    "success",
    "drop_invalid",
    "id_column",
    "missing_label",
    "header",
    "checkpoints",
    "stop_when_stable",
    "look",
)
"""Settings that may change later: paths, how data is read, and how work is done."""

FITTED = "scoring_learning_rate"
"""Setting that follows from a fitted learning rate and is not compared."""


def make(settings: Settings, train: Examples, evaluation: Examples, model: str | Mapping[str, Any]) -> dict[str, Any]:
    """Return the manifest of a new experiment; `model` is its fingerprint alone, or `pruning.data.models.identity`."""
    libraries = (*LIBRARIES, *(["bitsandbytes"] if settings.train.load_in_4bit else []))
    return {
        "format": FORMAT,
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "settings": settings.with_changes(task=train.task, columns=dict(train.columns)).to_dict(),
        "data": {
            "fingerprint": train.fingerprint,
            "sha256": train.origin.sha256 if train.origin else "",
            "rows": len(train),
            "label_names": list(train.label_names),
            "dropped": train.dropped,
            "notes": list(train.notes),
            "evaluation": {
                "fingerprint": evaluation.fingerprint,
                "sha256": evaluation.origin.sha256 if evaluation.origin else "",
                "rows": len(evaluation),
                "notes": list(evaluation.notes),
            },
        },
        "model": {"source": settings.model, **({"fingerprint": model} if isinstance(model, str) else model)},
        "versions": {"winnow": __version__, **{name: found for name in libraries if (found := _version(name))}},
    }


def merge(old: dict[str, Any], new: dict[str, Any], root: Path, recorded: bool = True) -> dict[str, Any]:
    """Return the old manifest, with the new seeds where they begin with the old ones; with the new settings if nothing is `recorded`.

    Raises ExperimentError naming the first difference. Seeds of runs that diverged are compared as the seeds that replaced them.
    """
    for place, before, after in (
        ("data", old["data"]["fingerprint"], new["data"]["fingerprint"]),
        ("evaluation data", old["data"]["evaluation"]["fingerprint"], new["data"]["evaluation"]["fingerprint"]),
    ):
        if before != after:
            raise ExperimentError(
                f"{root} was made from different {place} (fingerprint {before[:12]}, now {after[:12]}); choose a new folder.",
                "experiment",
            )
    if changed := changed_parts(old["model"], new["model"]):
        raise ExperimentError(
            f"{root} was made with a different model: the {' and '.join(changed)} of {new['model']['source'] or 'the model'} changed; "
            "restore the original files, or choose a new folder.",
            "experiment",
        )
    if not recorded:
        return {**old, "settings": new["settings"]}
    for name, before, after in _settings_pairs(old["settings"], new["settings"]):
        if name == "learning_rate":
            before, after = ("auto" if rate is None else rate for rate in (before, _as_asked(old, before, after)))
        if before != after:
            raise ExperimentError(
                f"{root} was made with {name} = {before}, not {after}; choose a new folder or use {before}.", "experiment"
            )
    ours, theirs = old["settings"]["seeds"], new["settings"]["seeds"]
    for redone in old.get("redone", ()):
        theirs = [redone["with"] if seed == redone["seed"] else seed for seed in theirs]
    shorter = min(len(ours), len(theirs))
    if theirs[:shorter] != ours[:shorter]:
        raise ExperimentError(f"{root} was made with seeds {ours}; add seeds only at the end; these are {theirs}.")
    changes = {**{name: new["settings"][name] for name in AFTERWARDS}, "seeds": max(theirs, ours, key=len)}
    kept = {name: value for name, value in old.items() if name != "stopped" or len(ours) >= len(theirs)}
    return {**kept, "settings": {**old["settings"], **changes}}


def sealed(info: Mapping[str, Any]) -> str:
    """Return the text of a manifest, with its own sha256 at its end."""
    text = json.dumps(info, indent=2, ensure_ascii=False).removesuffix("\n}")
    return f'{text},\n  "sha256": "{hashlib.sha256(text.encode()).hexdigest()}"\n}}\n'


def _check_own(path: Path, content: bytes) -> None:
    """Raise ExperimentError when a manifest is not what its own sha256 says; one without it, of an older version, passes."""
    if (found := SEAL.search(content)) and hashlib.sha256(content[: found.start()]).hexdigest().encode() != found[1]:
        raise ExperimentError(f"{path} is damaged (its sha256 is not the one at its end); restore it from a copy.")


def check_same(made: Mapping[str, Any], train: Examples, evaluation: Examples, root: Path) -> None:
    """Raise ExperimentError where the data's files differ from those that were scored, although the examples are the same.

    The fingerprint leaves out columns that training does not use; an export has them.
    """
    for examples, recorded in ((train, made["data"].get("sha256")), (evaluation, made["data"]["evaluation"].get("sha256"))):
        if recorded and examples.origin is not None and examples.origin.sha256 != recorded:
            raise ExperimentError(
                f"{examples.source} is not the file that {root} was made from (its sha256 is {examples.origin.sha256[:12]}, not "
                f"{recorded[:12]}), so lost files cannot be recreated from it; restore the original, or score it into a new folder."
            )


def read(path: Path) -> dict[str, Any]:
    """Return the manifest of a folder. Raises ExperimentError when it is missing, damaged, or of a format this Winnow does not read."""
    try:
        content = path.read_bytes()
        info = json.loads(content)
        _check_own(path, content)
    except (FileNotFoundError, NotADirectoryError):
        why = "it has no experiment.json" if path.parent.is_dir() else "there is no such folder"
        raise ExperimentError(f"{path.parent} is not an experiment: {why}.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ExperimentError(f"{path} cannot be read: {error}.") from None
    if isinstance(info, dict):
        info.pop("sha256", None)
    if not isinstance(info, dict) or type(info.get("format")) is not int:
        raise ExperimentError(f"{path} has no format version; it was not written by Winnow.")
    if info["format"] > FORMAT:
        raise ExperimentError(f"{path.parent} has format {info['format']}; this Winnow reads up to {FORMAT}: update Winnow to open it.")
    if info["format"] < OLDEST:
        raise ExperimentError(
            f"{path.parent} has format {info['format']}; this Winnow reads {OLDEST} to {FORMAT}: score the data again into a new folder."
        )
    try:
        Settings.from_dict(info["settings"])
        _ = info["data"]["label_names"], info["data"]["rows"], info["data"]["evaluation"]["fingerprint"], info["model"]["fingerprint"]
    except (AttributeError, KeyError, TypeError, ValueError, UsageError) as error:
        raise ExperimentError(f"{path} is damaged: {type(error).__name__} {error}; restore it from a copy, or score again.") from None
    return info


def _as_asked(old: Mapping[str, Any], before: float | None, after: float | None) -> float | None:
    """Return the new learning rate, or None (auto) where it equals the rate that was fitted for auto."""
    fitted = [fit["rate"] for fit in old.get("learning_rates", {}).values()]
    return None if before is None and after in fitted else after


def _settings_pairs(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterable[tuple[str, Any, Any]]:
    for name in new:
        if name == "train":
            before, after = ({**LATER, **side["train"]} for side in (old, new))
            yield from ((inner, before.get(inner, value), value) for inner, value in after.items() if _compared(inner, value))
        elif name not in (*AFTERWARDS, FITTED):
            yield name, old.get(name, new[name]), new[name]


def _compared(name: str, value: Any) -> bool:
    """Return True for a setting of the recipe that decides a recording; a rank of adapters that was not decided yet is the old one."""
    return name != "device" and not (name == "lora_rank" and value is None)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
