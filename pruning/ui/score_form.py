"""The form of a new experiment: data, what its columns are, model, recipe, what it will take; then start."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from pruning.data import lengths, sample
from pruning.data import preview as first_look
from pruning.data.preview import Preview
from pruning.data.tasks import TASKS
from pruning.data.tasks.generation import GENERATION
from pruning.data.tasks.rollouts import SAMPLED
from pruning.errors import UsageError, WinnowError
from pruning.experiment import Experiment
from pruning.formatting import counted, duration
from pruning.jobs import background
from pruning.jobs.estimate import ROUGH, fewer_runs
from pruning.settings import SAMPLE, Settings
from pruning.store import library
from pruning.store.layout import Folder
from pruning.ui import address, answers_form, chat, escaping, setting_boxes, state
from pruning.ui.setting_boxes import FORM

NOT_USED = "(not used)"

ROWS = 3
"""First rows of the data that are shown."""

SENTENCES = 800
"""Sentences of the sample: some minutes on a laptop."""

SKIP = "drop_invalid"

TASK = "task"
"""Key of the task's box."""

DETECTED = "detected-of"
"""Key of the data whose task and columns the boxes show."""

USUAL_TASK = "classification"
"""Task whose settings are shown before one is known."""


def show(dialog: bool) -> None:
    """Draw the form; in a dialog, close it once scoring started."""
    chosen, name = source()
    if st.session_state.get(DETECTED, chosen) != chosen:
        _forget_columns()
    st.session_state[DETECTED] = chosen
    if TASK not in st.session_state and answers_form.tool(chosen):
        st.session_state[TASK] = SAMPLED
    if st.session_state.get(TASK) == SAMPLED:
        _task(st.columns(4)[0])
        answers_form.show(chosen, name, dialog)
        return
    try:
        detected = columns(chosen)
    except WinnowError as error:
        st.error(escaping.markdown(error))
        st.caption("Or upload the file above: it is copied beside the experiments.")
        detected = None
    asked = recipe(detected, name, chosen)
    if detected is None or asked is None:
        return
    settings, folder, sentences = asked
    if detected.task == GENERATION:
        chat.mask(settings)
    _buttons(settings, folder, sentences, blocked=bool(detected.preview.problem), dialog=dialog)


def _buttons(settings: Settings, folder: str, sentences: int, blocked: bool, dialog: bool) -> None:
    with st.container(horizontal=True):
        begin = st.button("Start scoring", type="primary", icon=":material/play_arrow:", disabled=blocked)
        whole = st.button(
            "Score, choose and export",
            icon=":material/content_cut:",
            disabled=blocked,
            help="Also finds the smallest set within 0.5 pp of full data and writes it to the experiment's exports, verified.",
        )
        measure = st.button("Estimate the time", icon=":material/timer:", disabled=blocked)
    if measure:
        estimate(settings, sentences)
    if begin or whole:
        start(settings, folder, sentences, whole)
        if dialog:
            address.put(**{address.NEW: None})
        st.rerun()


def source() -> tuple[str, str]:
    """Return the data to score (a path, a hub name, the sample or an uploaded file) and a name for its experiment."""
    left, right = st.columns(2)
    left.text_input(
        "Data",
        "sample",
        key=address.DATA,
        help=f"{FORM['data'].option.help} The sample is movie-review sentences.",
    )
    right.file_uploader(
        "Or upload a file",
        type=[kind.removeprefix(".") for kind in library.KINDS],
        key="upload",
        max_upload_size=library.LARGEST >> 20,
        on_change=_take_upload,
    )
    chosen = address.text(address.DATA)
    return chosen, library.title(chosen) or "experiment"


@state.in_words
def _take_upload() -> None:
    """The file uploaded just now is the data; whatever fills the box later takes its place."""
    uploaded = st.session_state["upload"]
    if uploaded is not None:
        address.put(**{address.DATA: str(library.keep_upload(state.root(), uploaded.name, uploaded))})


@dataclass(frozen=True, slots=True, kw_only=True)
class Detected:
    """The data as it will be read."""

    preview: Preview
    task: str
    mapping: dict[str, str]
    """Field -> column."""
    skips: bool
    """True where the box that skips invalid rows was drawn, because there are such rows."""


def columns(chosen: str) -> Detected | None:
    """Show the task and the columns as detected, to be changed, and the first rows; None where the person must choose the task first."""
    guessed = _preview(chosen, "auto", (), False)
    if guessed.task and TASK not in st.session_state:
        st.session_state[TASK] = guessed.task
    places = st.columns(4)
    task = _task(places[0])
    if task is None:
        names = [column.name for column in guessed.columns]
        unknown = f"The columns {', '.join(names)} do not show what the task is. Choose it, then its columns."
        st.info(escaping.markdown(unknown if names else guessed.problem or "Choose the task."), icon=":material/arrow_upward:")
        if guessed.rows:
            _first_rows(guessed)
        return None
    mapping = _mapping(guessed, task, places)
    skip = bool(setting_boxes.typed(SKIP))
    preview = _preview(chosen, task, tuple(mapping.items()), skip)
    skips = skip or bool(preview.problem and not _preview(chosen, task, tuple(mapping.items()), True).problem)
    if preview.problem:
        st.warning(escaping.markdown(preview.problem))
    if skips:
        setting_boxes.box(FORM[SKIP], task)
    as_detected = guessed.task == task and dict(guessed.mapping) == mapping and not skip
    _described(preview, task, guessed.notes if as_detected else preview.notes)
    return Detected(preview=preview, task=task, mapping=mapping, skips=skips)


def _forget_columns() -> None:
    """Forget the task and the columns: they are those of other data."""
    for key in [key for key in st.session_state if key == TASK or str(key).startswith("column-")]:
        del st.session_state[key]


def _task(place: DeltaGenerator) -> str | None:
    """The box with the tasks that are scored, and sampled answers, which are imported."""
    tasks = [name for name, task in TASKS.items() if task.scored]
    return place.selectbox("Task", [*tasks, SAMPLED], index=None, key=TASK, placeholder="choose one", format_func=_words)


def _words(name: str) -> str:
    return "sampled answers" if name == SAMPLED else name.replace("_", " ")


MANY = 6
"""Fields of a task above which those that were not detected are folded."""


def _mapping(guessed: Preview, task: str, places: Sequence[DeltaGenerator]) -> dict[str, str]:
    """Field -> column, each in a box of its own beside the task's."""
    names = [column.name for column in guessed.columns]
    found = dict(guessed.mapping) if guessed.task == task else {}
    fields = TASKS[task].all_fields
    folded = [field for field in fields if field not in (*TASKS[task].required, *found)] if len(fields) > MANY else []
    mapping: dict[str, str] = {}

    def ask(place: DeltaGenerator, field: str) -> None:
        required = field in TASKS[task].required
        options = names if required else [NOT_USED, *names]
        start = found.get(field)
        index = options.index(start) if start in options else (None if required else 0)
        label = f"{field.replace('_', ' ').capitalize()} column"
        chosen = place.selectbox(label, options, index, key=f"column-{task}-{field}", placeholder="choose one")
        if chosen not in (None, NOT_USED):
            mapping[field] = chosen

    for number, field in enumerate([field for field in fields if field not in folded], 1):
        ask(places[number % len(places)], field)
    if folded:
        with st.expander("Other columns", icon=":material/view_column:"):
            more = st.columns(len(places))
            for number, field in enumerate(folded):
                ask(more[number % len(more)], field)
    return {field: mapping[field] for field in fields if field in mapping}


def _first_rows(preview: Preview) -> None:
    rows = pd.DataFrame([dict(row) for row in preview.rows[:ROWS]])
    st.dataframe(rows, hide_index=True, height="content", alt="The first rows of the data")


def _described(preview: Preview, task: str, notes: Sequence[str]) -> None:
    """The first rows, the labels and the lengths."""
    _first_rows(preview)
    words = [f"{counted(preview.total, 'row')}."]
    if preview.label_counts:
        total = sum(preview.label_counts.values())
        told = [f"{name} ({counted(count, 'row')}, {count / total:.0%})" for name, count in list(preview.label_counts.items())[:12]]
        words.append(f"Labels: {', '.join(told)}{' ...' if len(preview.label_counts) > 12 else ''}")
    st.text(" ".join(words))
    length = setting_boxes.typed("max_length") or TASKS[task].max_length
    words = list(notes)
    if long := lengths.sentence(preview.rows, preview.mapping, task, st.session_state.get("model", "sample"), int(length)):
        words.append(f"{long} The estimate looks at every row.")
    st.caption(escaping.markdown(" ".join(words)))


def recipe(detected: Detected | None, name: str, chosen: str) -> tuple[Settings, str, int] | None:
    """Ask for model, name and, folded, every other setting. Returns settings, a name for the folder and how much of the sample.

    None, with the error shown, where a setting is wrong; and where nothing was detected, which a box can change.
    """
    task, skips = (detected.task, detected.skips) if detected else (USUAL_TASK, False)
    left, right = st.columns(2)
    model = left.text_input("Model", "sample", key="model", help="A folder, a hub name, or 'sample': all-MiniLM-L6-v2, 22.7M parameters.")
    folder = right.text_input("Name", key="name", placeholder=name, help="Of the experiment's folder. Empty = after the data.") or name
    sentences = SENTENCES
    try:
        with st.expander("More settings", icon=":material/tune:", key="more-settings"):
            if chosen == SAMPLE:
                sentences = st.number_input("Sentences of the sample", 100, 9000, SENTENCES, 100, key="sentences", persist_state="page")
            values = setting_boxes.show(task, SKIP if skips else "")
        if detected is None:
            return None
        own = {"data": chosen, "task": task, "columns": detected.mapping, "model": model, SKIP: bool(setting_boxes.typed(SKIP))}
        length = values["max_length"] or TASKS[task].max_length
        settings = Settings(data=chosen).with_changes(**{**values, **own, "max_length": length})
    except UsageError as error:
        st.error(escaping.markdown(setting_boxes.pointed_out(error)))
        return None
    usual = settings.with_changes(max_length=values["max_length"])
    if words := setting_boxes.changed(usual, (*setting_boxes.ELSEWHERE, *([SKIP] if skips else []))):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.text(f"Not the defaults: {'; '.join(f'{setting} {value}' for setting, value in words.items())}.", width="content")
            st.button("Back to the defaults", icon=":material/undo:", type="tertiary", on_click=setting_boxes.clear)
    return settings, folder, int(sentences)


@state.in_words
def take_settings(folder: Path) -> None:
    """Open the form filled with an experiment's settings; for callbacks."""
    settings = Experiment(folder).asked
    setting_boxes.fill(settings)
    address.put(**{address.DATA: settings.data, address.NEW: True})
    st.session_state.update(
        {
            DETECTED: settings.data,
            TASK: settings.task,
            "model": settings.model,
            **{f"column-{settings.task}-{field}": column for field, column in settings.columns.items()},
            "name": f"{folder.name}-again",
        }
    )


def start(settings: Settings, name: str, limit: int, whole: bool = False) -> None:
    """Start scoring, or with `whole` also choosing and exporting, in the background under a new name, and make it this view's experiment.

    Raises UsageError for a name that cannot be a folder's, ExperimentError when it exists or the worker fails at once.
    """
    folder = library.free(state.root(), name)
    worker = (background.prune if whole else background.score)(sample.filled(settings, limit), folder)
    with st.spinner("Reading the data and starting the worker ..."):
        worker.until_created(Folder(folder))
    address.open_next(name)


def estimate(settings: Settings, limit: int) -> None:
    """Show how long scoring takes on this machine, from a short measurement in a process of its own."""
    with st.spinner("Training a few steps to measure this machine ..."):
        found = background.estimate(sample.filled(settings, limit))
    cut = f"{found['truncated']:,} of {found['examples']:,} texts ({found['truncated'] / max(1, found['examples']):.1%})"
    st.info(
        f"Scoring takes about {duration(found['score_seconds'])} on this machine as it is now, the whole frontier after it about "
        f"{duration(found['frontier_seconds'])}. {fewer_runs(found['by_runs'])} {ROUGH + ' ' if found['rough'] else ''}"
        f"{cut} are longer than {settings.max_length} tokens and will be truncated.",
        icon=":material/timer:",
    )


def _preview(chosen: str, task: str, mapping: tuple[tuple[str, str], ...], drop_invalid: bool) -> Preview:
    path = Path(chosen)
    stamp = path.stat().st_mtime_ns if path.is_file() else 0
    reading = tuple(setting_boxes.typed(name) for name in ("id_column", "missing_label"))
    return _previewed(chosen, stamp, task, mapping, drop_invalid, reading, st.session_state.get(setting_boxes.key("header")))


@st.cache_data(max_entries=16, show_spinner="Reading the data ...")
def _previewed(
    chosen: str,
    stamp: int,
    task: str,
    mapping: tuple[tuple[str, str], ...],
    drop_invalid: bool,
    reading: tuple[str | None, ...],
    header: bool | None,
) -> Preview:
    id_column, missing_label = reading
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
