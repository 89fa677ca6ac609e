"""The form of a new experiment: data, what its columns are, model, recipe, what it will take; then start."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import pandas as pd
import streamlit as st

from pruning.data import lengths, sample
from pruning.data import preview as first_look
from pruning.data.preview import Preview
from pruning.data.tasks import TASKS
from pruning.data.tasks.generation import GENERATION
from pruning.errors import ExperimentError, UsageError
from pruning.experiment import Experiment
from pruning.files import package_environment
from pruning.formatting import counted, duration
from pruning.jobs import background
from pruning.jobs.estimate import ROUGH
from pruning.options import parse, settings_of
from pruning.settings import AUTO, SAMPLE, Settings, TrainSettings, default_seeds
from pruning.settings_file import as_file
from pruning.store import library
from pruning.ui import address, escaping, state

NOT_USED = "(not used)"

ROWS = 5
"""First rows of the data that are shown."""

ESTIMATE_SECONDS = 180
"""After which measuring this machine is given up."""

TAKEN = "taken"
"""In the session: the name and the settings of the experiment that the form was filled from."""


def source() -> tuple[str, str]:
    """Return the data to score (a path, a hub name, the sample or an uploaded file) and a name for its experiment."""
    st.text_input(
        "Data",
        "sample",
        key="data",
        help=f"{_help('data')} The sample is movie-review sentences.",
    )
    st.file_uploader(
        "Or upload a file",
        type=[kind.removeprefix(".") for kind in library.KINDS],
        key="upload",
        max_upload_size=library.LARGEST >> 20,
        on_change=_take_upload,
    )
    chosen: str = st.session_state["data"]
    return chosen, library.title(chosen) or "experiment"


@state.in_words
def _take_upload() -> None:
    """The file uploaded just now is the data; whatever fills the box later takes its place."""
    uploaded = st.session_state["upload"]
    if uploaded is not None:
        st.session_state["data"] = str(library.keep_upload(state.root(), uploaded.name, uploaded))


def columns(chosen: str) -> tuple[Preview, str, dict[str, str], bool]:
    """The first rows, the task and the columns as guessed and, where the person knows better, as changed; whether invalid rows go."""
    reading = _reading()
    guessed = _preview(chosen, "auto", (), False, reading)
    tasks = [name for name, task in TASKS.items() if task.scored]
    if guessed.task and "task" not in st.session_state:
        st.session_state["task"] = guessed.task
    task = st.selectbox("Task", tasks, index=None, key="task", placeholder="choose one", format_func=lambda name: name.replace("_", " "))
    if task is None:
        st.warning(escaping.markdown(guessed.problem or "Choose the task."))
        st.stop()
    mapping = _mapping(guessed, task)
    drop_invalid = st.toggle("Skip rows without text or label", key="drop_invalid", help="The command line's --drop-invalid.")
    preview = _preview(chosen, task, tuple(mapping.items()), drop_invalid, reading)
    for note in preview.notes:
        st.text(note)
    st.dataframe(pd.DataFrame([dict(row) for row in preview.rows[:ROWS]]), hide_index=True, alt="The first rows of the data")
    if preview.label_counts:
        total = sum(preview.label_counts.values())
        told = [f"{name} {count:,} ({count / total:.0%})" for name, count in list(preview.label_counts.items())[:12]]
        st.text(f"{counted(preview.total, 'row')}. Labels: {', '.join(told)}{' ...' if len(preview.label_counts) > 12 else ''}")
    model, length = st.session_state.get("model", "sample"), st.session_state.get(f"max_length-{task}") or TASKS[task].max_length
    if long := lengths.sentence(preview.rows, preview.mapping, task, model, int(length)):
        st.caption(escaping.markdown(f"{long} The estimate below looks at every row."))
    return preview, task, mapping, drop_invalid


def _mapping(guessed: Preview, task: str) -> dict[str, str]:
    """Field -> column, each in a box of its own."""
    names = [column.name for column in guessed.columns]
    fields = TASKS[task].all_fields
    mapping: dict[str, str] = {}
    boxes = st.columns(min(4, len(fields)))
    for place, field in enumerate(fields):
        required = field in TASKS[task].required
        options = names if required else [NOT_USED, *names]
        start = guessed.mapping.get(field) if guessed.task == task else None
        index = options.index(start) if start in options else (None if required else 0)
        label = f"{field.replace('_', ' ').capitalize()} column"
        found = boxes[place % len(boxes)].selectbox(label, options, index, key=f"column-{task}-{field}", placeholder="choose one")
        if found not in (None, NOT_USED):
            mapping[field] = found
    return mapping


def recipe(task: str, name: str, chosen: str) -> tuple[Settings, str, int]:
    """Model, evaluation data and recipe; a name for the folder; how much of the sample.

    What the form has no box for is as usual, or as in the experiment whose settings were taken.
    """
    left, right = st.columns(2)
    folder = left.text_input("Name", key="name", placeholder=name, help="Of the experiment's folder. Empty = after the data.") or name
    model = right.text_input("Model", "sample", key="model", help="A folder, a hub name, or 'sample': all-MiniLM-L6-v2, 22.7M parameters.")
    evaluation = left.text_input(_label("evaluation"), key="evaluation", help="Empty = a fifth is split off, stratified by label.")
    limit = right.number_input("Sentences of the sample", 100, 9000, 800, 100, disabled=chosen != "sample", key="limit")
    with st.expander("Recipe", icon=":material/tune:"):
        runs = st.number_input("Runs", 1, 100, 2 if task == GENERATION else 6, key=_runs_key(task), help=RUNS_HELP)
        epochs = st.number_input(_label("epochs"), 1, 50, 3, key="epochs", help=_help("epochs"))
        batch_size = st.number_input(_label("batch_size"), 1, 1024, 32, key="batch_size", help=_help("batch_size"))
        rate = st.text_input(_label("learning_rate"), AUTO, key="learning_rate", help=_help("learning_rate"))
        usual, key = TASKS[task].max_length, f"max_length-{task}"
        template = st.text_input(_label("template"), AUTO, key="template", help=_help("template")) if task == GENERATION else AUTO
        length = st.number_input(_label("max_length"), 4, 8192, usual, key=key, help=_help("max_length"))
    own = {
        "data": chosen,
        "task": task,
        "evaluation": evaluation or None,
        "model": model,
        "max_length": int(length),
        "template": template or AUTO,
        "epochs": int(epochs),
        "batch_size": int(batch_size),
    }
    base = _taken({*own, "learning_rate", "columns", "drop_invalid"})
    try:
        own["learning_rate"] = parse(settings_of(TrainSettings)["learning_rate"], rate)
        settings = base.with_changes(**own, seeds=base.seeds if runs == base.runs else default_seeds(int(runs)))
    except UsageError as error:
        st.error(escaping.markdown(f"{error} See {_label(error.field)}." if error.field in FORM else str(error)))
        st.stop()
    return settings, folder, int(limit)


def _runs_key(task: str) -> str:
    """The session's key of the number of runs, whose usual value depends on the task."""
    return "runs-generation" if task == GENERATION else "runs"


RUNS_HELP = (
    "Fine-tunings, each with its own seed. The paper uses 6; for generation 2 are usual, because runs that start from the same weights "
    "agree, and epochs tell examples apart."
)

FORM = {**settings_of(Settings), **settings_of(TrainSettings)}
"""Every setting, by name."""


def _label(name: str) -> str:
    return FORM[name].label


def _help(name: str) -> str:
    return FORM[name].option.help


def others(settings: Settings, shown: Collection[str]) -> dict[str, str]:
    """Return the settings that differ from their defaults, by label, as text, those left out that are `shown` already.

    >>> others(Settings(data="x.jsonl", burn_in=1, seeds=(1, 2), checkpoints=False), ["data"])
    {'seeds': '1, 2', 'burn in': '1', 'checkpoints': 'off'}
    """
    values = {name: getattr(settings if name in settings_of(Settings) else settings.train, name) for name in FORM}
    usual = {name: default_seeds(settings.runs) if name == "seeds" else setting.default for name, setting in FORM.items()}
    hidden = [name for name in FORM if name not in (*shown, "recorded_by") and values[name] != usual[name]]
    return {_label(name)[0].lower() + _label(name)[1:]: _value(values[name]) for name in hidden}


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _taken(shown: Collection[str]) -> Settings:
    """The settings taken from another experiment, or the usual ones; settings without a widget are listed and can be reset."""
    if TAKEN not in st.session_state:
        return Settings(data="")
    name, values = st.session_state[TAKEN]
    settings = Settings.from_dict({**values, "recorded_by": "winnow"})
    if words := others(settings, shown):
        st.text(f"As in {name}: {'; '.join(f'{setting} {value}' for setting, value in words.items())}.")
        st.button("Back to the defaults", icon=":material/undo:", on_click=st.session_state.pop, args=(TAKEN,))
    return settings


@state.in_words
def take_settings(folder: Path) -> None:
    """Fill the form with an experiment's settings; for callbacks."""
    settings = Experiment(folder).asked
    st.session_state.update(
        {
            "data": settings.data,
            "task": settings.task,
            "model": settings.model,
            "evaluation": settings.evaluation or "",
            _runs_key(settings.task): settings.runs,
            "template": settings.template,
            "epochs": settings.train.epochs,
            "batch_size": settings.train.batch_size,
            "learning_rate": AUTO if settings.train.learning_rate is None else str(settings.train.learning_rate),
            f"max_length-{settings.task}": settings.max_length or TASKS[settings.task].max_length,
            **{f"column-{settings.task}-{field}": column for field, column in settings.columns.items()},
            "drop_invalid": settings.drop_invalid,
            "name": f"{folder.name}-again",
            TAKEN: (folder.name, settings.to_dict()),
        }
    )


def start(settings: Settings, name: str, limit: int, whole: bool = False) -> None:
    """Start scoring, or with `whole` also choosing and exporting, in the background under a new name, and make it this view's experiment.

    Raises UsageError for a name that cannot be a folder's, ExperimentError when it exists or the worker fails at once.
    """
    folder = library.free(state.root(), name)
    worker = (background.prune if whole else background.score)(_ready(settings, limit), folder)
    with st.spinner("Reading the data and starting the worker ..."):
        deadline = time.monotonic() + 60
        while not (folder / "experiment.json").exists() and time.monotonic() < deadline:
            if problem := worker.failure():
                raise ExperimentError(problem)
            time.sleep(0.2)
    address.open_next(name)


def estimate(settings: Settings, limit: int) -> None:
    """Show how long scoring takes on this machine, from a short measurement in a process of its own."""
    command = [sys.executable, "-m", "pruning", "score", "--settings", "-", "--estimate", "--json"]
    content = json.dumps(as_file(_ready(settings, limit)))
    try:
        with st.spinner("Training a few steps to measure this machine ..."):
            done = subprocess.run(
                command, env=package_environment(), input=content, capture_output=True, text=True, timeout=ESTIMATE_SECONDS, check=False
            )
    except subprocess.TimeoutExpired:
        raise ExperimentError(
            f"Measuring this machine took more than {ESTIMATE_SECONDS} seconds and was stopped; start scoring, which shows the time left."
        ) from None
    if done.returncode:
        raise ExperimentError(done.stderr.strip().removeprefix("Error: ") or "The estimate exited without an error message.")
    found = json.loads(done.stdout)
    cut = f"{found['truncated']:,} of {found['examples']:,} texts ({found['truncated'] / max(1, found['examples']):.1%})"
    st.info(
        f"Scoring takes about {duration(found['score_seconds'])} on this machine as it is now, the whole frontier after it about "
        f"{duration(found['frontier_seconds'])}. {ROUGH + ' ' if found['rough'] else ''}"
        f"{cut} are longer than {settings.max_length} tokens and will be truncated.",
        icon=":material/timer:",
    )


def _ready(settings: Settings, limit: int) -> Settings:
    """With the sample's own files, where the sample is asked for."""
    if settings.data == SAMPLE and settings.evaluation is None:
        train, evaluation = sample.sample_split(limit, 1000)
        return settings.with_changes(data=str(train), evaluation=str(evaluation))
    return settings


Reading = tuple[str | None, str | None, bool | None]
"""Column of ids, the value that means "no label", and whether the first line names the columns."""


def _reading() -> Reading:
    """Return how the data is read by the settings taken from another experiment, or as usual."""
    taken = Settings.from_dict(st.session_state[TAKEN][1]) if TAKEN in st.session_state else Settings(data="")
    return taken.id_column, taken.missing_label, taken.header


def _preview(chosen: str, task: str, mapping: tuple[tuple[str, str], ...], drop_invalid: bool, reading: Reading) -> Preview:
    path = Path(chosen)
    stamp = path.stat().st_mtime_ns if path.is_file() else 0
    return _previewed(chosen, stamp, task, mapping, drop_invalid, reading)


@st.cache_data(max_entries=16, show_spinner="Reading the data ...")
def _previewed(chosen: str, stamp: int, task: str, mapping: tuple[tuple[str, str], ...], drop_invalid: bool, reading: Reading) -> Preview:
    id_column, missing_label, header = reading
    found = first_look.preview(
        chosen,
        rows=lengths.ROWS,
        task=task,
        columns=dict(mapping),
        drop_invalid=drop_invalid,
        id_column=id_column,
        missing_label=missing_label,
        header=header,
    )
    return replace(found, rows=lengths.first(found.rows, at_least=ROWS))
