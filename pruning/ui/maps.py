"""The two maps of the Difficulty page, one piece of code: by two scores (the data map), and by meaning."""

from __future__ import annotations

from functools import partial

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from pruning.data.tasks import TASKS
from pruning.formatting import counted
from pruning.jobs import precompute
from pruning.reports.browse import View
from pruning.reports.conditions import MEANING, Area
from pruning.ui import address, answers, escaping, filters, map_chart, widgets
from pruning.ui import difficulty_selection as picking

DATA, BY_MEANING = "data map", "by meaning"

HELP = {
    DATA: "Confidence against variability: how sure the model was of the right answer, and how much that moved while it learned "
    "(Swayamdipta et al. 2020).",
    BY_MEANING: "Examples of like meaning lie near each other (t-SNE of the pretrained model's embeddings). How far apart two far groups "
    "lie says little. The names are frequent words that are rarer elsewhere.",
}


def panel(view: View, kept: NDArray[np.bool_]) -> Area | None:
    """Draw the map that is asked for; return the area chosen on it."""
    heading = st.container()
    kind = _kind(view)
    heading.subheader("Map by meaning" if kind == BY_MEANING else "Data map", help=HELP[kind], anchor=False)
    if kind == DATA:
        return _drawn(view, kept, *_axes(view), kind)
    if view.experiment.map is None:
        _awaited(view)
        return None
    return _drawn(view, kept, *MEANING, kind)


def _kind(view: View) -> str:
    """Ask which map; there is one where the task has no look."""
    if view.experiment.sampled or TASKS[view.experiment.settings.task].kind != "classification":
        return DATA
    address.among(address.KIND, [DATA, BY_MEANING], "map")
    address.usual(address.KIND, DATA)
    words = {DATA: "By how it was learned", BY_MEANING: "By meaning"}
    return st.segmented_control(
        "Map",
        [DATA, BY_MEANING],
        default=DATA,
        required=True,
        key=address.KIND,
        format_func=words.__getitem__,
        label_visibility="collapsed",
    )


def _axes(view: View) -> tuple[str, str]:
    """Ask for the two scores of the data map."""
    names, meanings, title = view.score_names, filters.meanings(view), picking.title
    axes = st.columns(2)
    xy = answers.map_axes(view)
    for key, usual in zip((address.X, address.Y), xy, strict=True):
        address.among(key, names, "score")
        address.usual(key, names[picking.place(view, usual)])
    x = axes[0].selectbox("X axis", names, picking.place(view, xy[0]), key=address.X, format_func=title, help=meanings)
    y = axes[1].selectbox("Y axis", names, picking.place(view, xy[1]), key=address.Y, format_func=title, help=meanings)
    return x, y


def _drawn(view: View, kept: NDArray[np.bool_], x: str, y: str, kind: str) -> Area | None:
    """Draw the map over two axes, and what chooses an area of it."""
    colour = _colour(view, kept)
    mouse = picking.mouse()
    area = picking.chosen_area(view, x, y)
    found = view.experiment.map if kind == BY_MEANING else None
    axes = map_chart.Axes("", "", named=False) if found else map_chart.Axes(picking.title(x), picking.title(y))
    widgets.chart(
        map_chart.plane(
            view.axis(x),
            view.axis(y),
            colour,
            axes,
            None if area is None else area.corners,
            partial(picking.hover, view),
            mouse,
            found.regions if found else (),
        ),
        picking.cells(view, x, y),
        key=address.MAP,
        alt=f"{picking.title(x)} and {picking.title(y)}; the sliders below choose a box, whose examples are listed.",
        on_select=partial(picking.drawn, view, x, y),
        mode=picking.MODES[mouse],
        index=True,
    )
    if found and found.fitted < len(view.h):
        st.caption(f"{found.fitted:,} examples, drawn at random, were placed by t-SNE; each other one stands between its nearest of these.")
    picking.sliders(view, x, y)
    return area


def _colour(view: View, kept: NDArray[np.bool_]) -> map_chart.Scale | map_chart.Parts:
    """Ask what colours the map: a score, kept or pruned, the label or another column."""
    usual = answers.colour(view)
    names = [usual, *(name for name in view.score_names if name != usual), widgets.STAYS, *view.columns]
    address.among(address.COLOUR, names, "colour")
    address.usual(address.COLOUR, usual)
    scores = set(view.score_names)
    chosen = st.selectbox("Colour", names, key=address.COLOUR, format_func=lambda name: picking.title(name) if name in scores else name)
    if chosen not in scores:
        return map_chart.Parts(*widgets.parts(view, kept, chosen))
    ends = picking.span(view, chosen)
    whole = (0.0, 1.0) if chosen == usual else (ends.low, ends.high)
    return map_chart.Scale(view.score(chosen), whole, "share right" if chosen == usual else picking.title(chosen))


def _awaited(view: View) -> None:
    """Make the map in the background, or say what is missing."""
    experiment = view.experiment
    directory = experiment.folder.root
    if experiment.look is None:
        st.text(experiment.look_problem or "The texts were not embedded yet; look at them, once, with this command:")
        st.code(f"python -m pruning look {directory}", language=None)
        return
    if experiment.map_problem:
        st.warning(escaping.markdown(experiment.map_problem), icon=":material/warning:")
        return
    if not precompute.failed(directory, "map"):
        precompute.begin(directory, "map")

    @st.fragment(run_every=1)
    def wait() -> None:
        if experiment.folder.map.exists():
            st.rerun()
        if precompute.failed(directory, "map"):
            st.error(f"The map could not be made; {escaping.markdown(f'python -m pruning look {directory}')} says why.")
            return
        done, total = precompute.steps(directory, "map") or (0, 1)
        st.info(f"Placing {counted(len(view.h), 'example')} on the map; this takes seconds, once.", icon=":material/hourglass_top:")
        st.progress(min(1.0, done / total), f"Step {done:,} of {total:,}" if done else "Comparing the examples ...")

    wait()


def chosen(view: View, kept: NDArray[np.bool_], area: Area | None) -> None:
    """The examples in the area chosen on a map, below it: listed, opened in Inspect, or reset."""
    if area is None:
        return
    positions = np.flatnonzero(view.inside(area))
    where = "box" if len(area.corners) == 2 else "area"
    words = f"{counted(len(positions), 'example')} in the {where} ({len(positions) / max(1, len(view.h)):.0%} of all)."
    picking.listed(view, positions, kept, words)
    st.caption(f"This subset keeps {int(np.count_nonzero(kept[positions])):,} of them.")
    with st.container(horizontal=True):
        picking.opens("open-area", {address.AREA: area.words()})
        st.button("Clear the choice", icon=":material/close:", key="clear-area", on_click=picking.clear, args=(area.x, area.y))
