"""Pieces of pages: one example as its task shows it, decisions by hand, columns as parts of a chart."""

from __future__ import annotations

from functools import partial

import numpy as np
import pyarrow as pa
import streamlit as st
from numpy.typing import NDArray

from pruning import audit
from pruning.audit import Shares
from pruning.data import SOURCE_PREFIX
from pruning.decisions import Decision, standing
from pruning.experiment import Experiment
from pruning.records import DecisionKind
from pruning.tasks import TASKS
from pruning.ui import theme

STAYS = "kept or pruned"
LABEL = "label"
"""The task's own label, whatever its column is called."""
MOST_PARTS = 7
"""Values of a column that get a colour of their own; the rest are "other"."""


def parts(experiment: Experiment, kept: NDArray[np.bool_], column: str) -> tuple[NDArray[np.object_], dict[str, str]]:
    """[N] part of a stacked chart that each example belongs to, and the parts' colours."""
    if column == STAYS:
        return np.where(kept, "kept", "pruned").astype(object), {"kept": theme.KEPT, "pruned": theme.PRUNED}
    found = values(experiment, column)
    names, counts = np.unique(found.astype(str), return_counts=True)
    common = [str(name) for name in names[np.argsort(-counts, kind="stable")][:MOST_PARTS]]
    if len(names) > MOST_PARTS:
        found = np.where(np.isin(found.astype(str), common), found, "other")
        common.append("other")
    return found, dict(zip(common, theme.CATEGORIES, strict=False))


def values(experiment: Experiment, column: str) -> NDArray[np.object_]:
    """[N] a source column's values, or the label's names, as text."""
    if column == LABEL and experiment.labels is not None:
        return np.array(experiment.label_names, dtype=object)[experiment.labels]
    name = SOURCE_PREFIX + column
    return np.array([str(value) for value in experiment.examples([name])[name].to_pylist()], dtype=object)


def audited(experiment: Experiment, column: str, kept: NDArray[np.bool_]) -> Shares:
    """How evenly what stays covers a source column (numbers in four parts), or the label."""
    if column == LABEL:
        return audit.kept_shares(column, values(experiment, column), kept)
    name = SOURCE_PREFIX + column
    return audit.kept_shares(*audit.slices(column, experiment.examples([name])[name].to_pandas()), kept)


def example(experiment: Experiment, index: int) -> None:
    """One example as its task shows it. Text is never read as Markdown or HTML."""
    row = experiment.examples().take(pa.array([index])).to_pylist()[0]
    for part in TASKS[experiment.settings.task].display(row, experiment.label_names):
        st.caption(part.name + ("" if part.right is None else " (right)" if part.right else ""))
        st.code(part.text, language=None, wrap_lines=True)
    if experiment.label_names:
        predicted = experiment.dynamics.predicted[:, :, index].ravel()
        said = np.bincount(predicted[predicted >= 0], minlength=len(experiment.label_names))
        answers = ", ".join(f"{name} {count}x" for name, count in zip(experiment.label_names, said, strict=True) if count) or "not recorded"
        st.text(f"Label: {experiment.label_names[row['label']]}. The model said: {answers}.")


def decide(experiment: Experiment, chosen: NDArray[np.int64], matching: NDArray[np.int64]) -> None:
    """Keep, drop, relabel or note: the chosen rows, or all that match."""
    where = st.segmented_control("Decide for", ["selected rows", "all that match"], default="selected rows", key="where") or "selected rows"
    ids = experiment.ids[chosen if where == "selected rows" else matching]
    keep, drop, label, note = st.columns([1, 1, 2, 2], vertical_alignment="bottom")
    act = partial(_act, experiment, tuple(int(i) for i in ids))
    keep.button("Keep", icon=":material/check:", on_click=act, args=(DecisionKind.KEEP,), disabled=not len(ids), width="stretch")
    drop.button("Drop", icon=":material/close:", on_click=act, args=(DecisionKind.DROP,), disabled=not len(ids), width="stretch")
    if experiment.label_names:
        label.selectbox(
            "Change the label to",
            experiment.label_names,
            index=None,
            key="relabel",
            disabled=not len(ids),
            on_change=lambda: _from(act, DecisionKind.RELABEL, "relabel"),
        )
    note.text_input("Note", key="note", disabled=not len(ids), on_change=lambda: _from(act, DecisionKind.NOTE, "note"))
    st.caption(f"Applies to {len(ids):,} examples. Nothing is deleted: decisions are a list that can be undone.")


def decisions(experiment: Experiment) -> None:
    """The standing decisions, latest first, each with its undo."""
    acts = standing(experiment.decisions())
    if not acts:
        return
    st.subheader("Decisions")
    for decision in acts[:-11:-1]:
        words, undo = st.columns([5, 1], vertical_alignment="center")
        words.text(f"{decision.kind} {decision.value} - {len(decision.ids):,} example{'s' if len(decision.ids) != 1 else ''}")
        undo.button("Undo", key=f"undo-{decision.key}", on_click=_undo, args=(experiment, decision.key), icon=":material/undo:")


def _act(experiment: Experiment, ids: tuple[int, ...], kind: DecisionKind, value: str = "") -> None:
    experiment.decide(Decision(kind=kind, ids=ids, value=value))
    st.toast(f"{kind.capitalize()}: {len(ids):,} examples.")


def _from(act: partial[None], kind: DecisionKind, key: str) -> None:
    value = st.session_state[key]
    if value:
        act(kind, str(value))
        st.session_state[key] = None if key == "relabel" else ""


def _undo(experiment: Experiment, key: str) -> None:
    experiment.decide(Decision(kind=DecisionKind.UNDO, value=key))
