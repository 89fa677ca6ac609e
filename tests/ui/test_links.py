"""A link shows what it showed: every address, opened cold, gives the same selection, and says what it names that is not there."""

import shutil
from pathlib import Path
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.testclient import TestClient
from streamlit.testing.v1 import AppTest

from pruning.data import access
from pruning.experiment import Experiment
from pruning.files import write_json
from pruning.fine_tunings import MODEL
from pruning.records import DecisionKind
from pruning.reports.browse import View
from pruning.reports.conditions import Filter
from pruning.store.manifest import MEASURED_WITH
from pruning.subsets.decisions import Decision
from pruning.ui import address
from pruning.ui.server.routes import ROUTES
from tests.support.kinds import left
from tests.support.pages import ROOT, opened

OVERVIEW = ROOT / "pages" / "overview.py"


def link(app: AppTest, page: str) -> str:
    return f"{page}?{urlencode(app.query_params, doseq=True)}"


def heading(app: AppTest) -> str:
    return next(header.value for header in app.subheader if header.value.startswith("Example"))


def warned(app: AppTest, words: str) -> bool:
    return any(words in warning.value.replace("\\", "") for warning in (*app.warning, *app.error))


def test_the_example_of_an_address_is_the_one_that_is_open(scored: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    root = scored.folder.root.parent
    app = opened("inspect?experiment=reviews&at=7", root, monkeypatch)
    assert heading(app) == f"Example {scored.ids[6]}" and not app.exception
    again = opened(link(app, "inspect"), root, monkeypatch)
    assert heading(again) == heading(app) and again.query_params["example"] == str(scored.ids[6])
    beyond = opened("inspect?experiment=reviews&at=7000", root, monkeypatch)
    assert warned(beyond, "asks for number 7,000")


def test_an_example_that_is_not_there_is_said_and_none_shown_instead(scored: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    app = opened("inspect?experiment=reviews&example=99999", scored.folder.root.parent, monkeypatch)
    assert warned(app, "has no example 99999") and not [h for h in app.subheader if h.value.startswith("Example")]
    assert app.query_params["example"] == "99999"


def test_rows_per_page_and_the_page_come_from_the_address(scored: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    root = scored.folder.root.parent
    app = opened("inspect?experiment=reviews&size=100&page=2", root, monkeypatch)
    assert app.dataframe[0].value["id"].tolist() == scored.ids[100:].tolist()
    assert heading(app) == f"Example {scored.ids[100]}"


def test_a_comparison_keeps_what_it_shows(scored: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    root = scored.folder.root.parent
    asked = "inspect?experiment=reviews&subset=drop-easy&show=only+here&versus=winning-ticket"
    app = opened(asked, root, monkeypatch)
    view = View(scored, scored.settings.burn_in)
    kept, other = view.kept(view.subset("drop-easy")), view.kept(view.subset("winning-ticket"))
    expected = scored.ids[kept & ~other].tolist()
    assert app.dataframe[0].value["id"].tolist() == expected[:50] and app.query_params["show"] == "only here"


def test_a_page_that_ends_early_shows_its_notes_and_writes_its_address(scored: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    root = scored.folder.root.parent
    app = opened("inspect?experiment=reviews&subset=nosuch&burn_in=x", root, monkeypatch)
    assert "no subset" in app.error[0].value and warned(app, "burn_in=x, which is not a whole number") and not app.exception
    assert app.query_params["burn_in"] == str(scored.settings.burn_in)
    left(scored, "no-run-yet")
    assert opened("inspect", root, monkeypatch).query_params["experiment"] == "reviews"


@pytest.mark.parametrize("page", ["overview", "difficulty", "frontier", "inspect", "export"])
def test_an_experiment_that_is_not_there_is_said(page: str, scored: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    root = scored.folder.root.parent
    app = opened(f"{page}?experiment=nosuch", root, monkeypatch)
    assert warned(app, "asks for the experiment nosuch") and not app.exception
    assert app.query_params["experiment"] == "nosuch" and not app.metric
    app.selectbox(key="experiment").set_value("reviews").run()
    assert not app.error and app.query_params["experiment"] == "reviews"


def test_the_newest_experiment_is_written_into_the_address(scored: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    app = opened("frontier", scored.folder.root.parent, monkeypatch)
    assert (app.query_params["experiment"], app.query_params["subset"]) == ("reviews", "winning-ticket")
    assert app.query_params["burn_in"] == str(scored.settings.burn_in)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("label=nosuch", "asks for the label nosuch"),
        ("size=77", "asks for the page size 77"),
        ("page=x", "page=x, which is not a whole number"),
        ("page=99", "asks for page 99"),
        ("page=0", "asks for page 0"),
        ("queue=nosuch", "asks for the queue nosuch, which does not exist"),
        ("beside=nosuch", "asks for the experiment nosuch, which is not in this folder"),
        ("burn_in=9", "asks for a burn-in of 9"),
        ("h=44", "asks for the H 44"),
        ("score=confidence&in-confidence=5&in-confidence=6", "asks for Confidence from 5 to 6"),
        ("versus=nosuch", "asks for the subset nosuch"),
    ],
)
def test_what_this_experiment_does_not_have_is_said(query: str, words: str, scored: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    app = opened(f"inspect?experiment=reviews&{query}", scored.folder.root.parent, monkeypatch)
    assert warned(app, words) and not app.exception, [warning.value for warning in app.warning]


STATES = st.fixed_dictionaries(
    {},
    optional={
        "show": st.sampled_from(["pruned", "kept"]),
        "q": st.sampled_from(["film", "the good"]),
        "h": st.lists(st.integers(0, 3), min_size=1, max_size=3, unique=True),
        "label": st.just(["positive"]),
        "queue": st.sampled_from(["suspected", "never", "always", "decided"]),
        "sort": st.sampled_from(["confidence", "variability"]),
        "desc": st.just("true"),
        "size": st.just("100"),
        "subset": st.sampled_from(["full", "drop-easy", "random@0.5"]),
        "burn_in": st.sampled_from(["0", "1"]),
    },
)


@pytest.fixture(scope="module")
def shared(scored_once: Path, tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    """Two copies, as opening a page fills their cache; subsets of the first are measured with another model too."""
    root = tmp_path_factory.mktemp("links")
    made, _ = (Experiment(shutil.copytree(scored_once, root / name)) for name in (scored_once.name, "copy"))
    entry = {"source": "another-model", "fingerprint": "f00d", "parts": {}, "learning_rate": 1e-3, "learning_rates": {}}
    write_json(made.folder.manifest, {**made.info, MEASURED_WITH: {"f00d": entry}})
    made = Experiment(made.folder.root)
    for row in made.finished().to_dict("records"):
        made.add_finished({**row, MODEL: "f00d"})
    return Experiment(made.folder.root)


@pytest.mark.process
@pytest.mark.process
@settings(max_examples=8)
@given(state=STATES)
def test_any_address_opened_cold_shows_the_same(state: dict[str, object], shared: Experiment) -> None:
    root = shared.folder.root.parent
    with pytest.MonkeyPatch.context() as monkeypatch:
        asked = urlencode({"experiment": shared.name, **state}, doseq=True)
        first = opened(f"inspect?{asked}", root, monkeypatch)
        assert not first.exception
        second = opened(link(first, "inspect"), root, monkeypatch)
    assert second.query_params == first.query_params
    tables = [[frame.value["id"].tolist() for frame in app.dataframe if "id" in frame.value] for app in (first, second)]
    assert tables[0] == tables[1]
    for key, value in state.items():
        found = first.query_params.get(key)
        assert ([found] if isinstance(found, str) else found) == [str(v) for v in (value if isinstance(value, list) else [value])], key


Acts = list[tuple[str, str, list[object]]]
EVERYWHERE: Acts = [
    ("selectbox", "subset", ["drop-easy", "full", "drop-hard"]),
    ("number_input", "burn_in", [1, 0]),
]
ACTS: dict[str, Acts] = {
    "overview": [("selectbox", "with", ["copy", None])],
    "score": [("button", "new-experiment", [None]), ("text_input", "data", ["REVIEWS"])],
    "difficulty": [
        ("selectbox", "x", ["aum", "variability", "loss"]),
        ("selectbox", "y", ["el2n", "confidence"]),
        ("selectbox", "stack", ["label", "kept or pruned"]),
        ("segmented_control", "level", [2, 0, 3]),
        ("slider", "x-aum", [(0.2, 0.7)]),
        ("slider", "y-el2n", [(0.1, 0.6)]),
        ("slider", "x-variability", [(0.2, 0.5), (0.1, 0.8)]),
        ("selectbox", "colour", ["label", "kept or pruned", "confidence"]),
        ("state", "drawn", [["aum", "el2n", "-1,0", "1,0", "0,1.5"]]),
        ("segmented_control", "kind", ["by meaning", "data map"]),
    ],
    "frontier": [
        ("selectbox", "metric", ["macro_f1", "accuracy"]),
        ("selectbox", "model", ["f00d", ""]),
        ("segmented_control", "budget", ["steps", "epochs"]),
        ("number_input", "margin", [2.5, 0.0]),
    ],
    "inspect": [
        ("segmented_control", "size", [100, 50]),
        ("state", "page", [2]),
        ("button", "step-on", [None]),
        ("button", "previous", [None]),
        ("text_input", "q", ["film", "the", ""]),
        ("multiselect", "h", [[0, 1, 2], [1, 2], []]),
        ("multiselect", "label", [["positive"], []]),
        ("multiselect", "said", [["negative", "positive"]]),
        ("multiselect", "answered", [["negative", "positive"]]),
        ("selectbox", "column", ["source", None]),
        ("multiselect", "values", [["s0", "s1"], ["s2"]]),
        ("selectbox", "beside", ["copy", None]),
        ("multiselect", "beside_h", [[0, 1, 2], [3]]),
        ("selectbox", "score", ["confidence", None]),
        ("slider", "in-confidence", [(0.1, 0.9)]),
        ("state", "area", [["confidence", "loss", "0,0", "0.9,2"]]),
        ("selectbox", "sort", ["confidence", "variability"]),
        ("toggle", "desc", [True, False]),
        ("segmented_control", "show", ["pruned", "kept", "all"]),
        ("selectbox", "versus", ["full", None]),
        ("pills", "queue", ["never", "suspected", "always", "duplicates", "decided"]),
        ("selectbox", "only", ["suspected label errors", "duplicates", None]),
    ],
    "export": [
        ("segmented_control", "format", ["csv", "parquet"]),
        ("toggle", "escape", [True]),
        ("selectbox", "by", ["source", "label"]),
    ],
}
"""What a person can do on a page, as (kind of widget, key, values); a button has none, those of a slider are shares of its
range, and "state" is what a click elsewhere sets."""

REACHED_BY = {"new-experiment": "new", "step-on": "example", "previous": "example"}
"""The key of the address that a button writes."""


@st.composite
def walks(draw: st.DrawFn) -> tuple[str, list[tuple[str, str, object]]]:
    page = draw(st.sampled_from(sorted(ACTS)))
    acts = draw(st.lists(st.sampled_from([*EVERYWHERE, *ACTS[page]]), min_size=1, max_size=5))
    return page, [(kind, key, draw(st.sampled_from(values))) for kind, key, values in acts]


def act(app: AppTest, kind: str, key: str, value: object) -> bool:
    """Do it, where the widget is on the page and can be used; return whether it was done."""
    if kind == "state":
        app.session_state[key] = value
        app.run()
        return True
    [widget] = [one for one in app.get(kind) if one.key == key] or [None]
    if widget is None or widget.disabled:
        return False
    if kind == "selectbox":  # it is set by its options' titles; the session holds their names
        app.session_state[key] = value
        app.run()
    elif kind == "slider":
        assert isinstance(value, tuple)
        widget.set_value(tuple(widget.min + share * (widget.max - widget.min) for share in value)).run()
    else:
        (widget.click() if kind == "button" else widget.set_value(value)).run()
    assert not app.exception, (key, value)
    return True


def on_screen(app: AppTest) -> dict[str, object]:
    """Everything a person sees but passing messages and buttons: words, numbers, tables, charts, and what each widget holds."""
    kinds = ("selectbox", "multiselect", "text_input", "number_input", "slider", "toggle", "segmented_control", "pills")
    return {
        "words": [one.value for kind in ("title", "subheader", "text", "caption", "markdown") for one in app.get(kind)],
        "numbers": [(one.label, one.value, one.delta) for one in app.metric],
        "tables": [one.proto.arrow_data.data for one in app.dataframe],
        "charts": [one.proto.spec for one in app.get("plotly_chart")],
        "widgets": {one.key: one.value for kind in kinds for one in app.get(kind) if one.key},
    }


def changed_when_opened_cold(app: AppTest, page: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Open the page's address in a new tab; return the parts of the screen that differ, and "address" where that does."""
    cold = opened(link(app, page), root, monkeypatch)
    assert not cold.exception and not warned(cold, "This link")
    here, there = on_screen(app), on_screen(cold)
    return [what for what in here if here[what] != there[what]] + ["address"] * (cold.query_params != app.query_params)


@pytest.mark.process
@pytest.mark.process
@settings(max_examples=6)
@given(walk=walks())
def test_any_state_a_person_reaches_is_what_its_address_opens(
    walk: tuple[str, list[tuple[str, str, object]]], shared: Experiment, reviews: tuple[Path, Path]
) -> None:
    page, acts = walk
    root = shared.folder.root.parent
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv(access.ROOTS, str(reviews[0].parent))
        app = opened(f"{page}?experiment={shared.name}", root, monkeypatch)
        for kind, key, value in acts:
            act(app, kind, key, str(reviews[0]) if value == "REVIEWS" else value)
        assert not changed_when_opened_cold(app, page, root, monkeypatch), app.query_params


@pytest.mark.process
@pytest.mark.process
@pytest.mark.parametrize("page", ACTS)
def test_each_act_of_a_page_is_written_to_its_address(
    page: str, shared: Experiment, reviews: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One after the other, so that those are reached too that depend on an earlier one, such as the values of a column."""
    root = shared.folder.root.parent
    monkeypatch.setenv(access.ROOTS, str(reviews[0].parent))
    app = opened(f"{page}?experiment={shared.name}", root, monkeypatch)
    for kind, key, values in [*(EVERYWHERE if page != "score" else []), *ACTS[page]]:
        if key in ("x-variability", "previous"):
            continue  # its axis is another one by now; it undoes the step before
        value = str(reviews[0]) if values[0] == "REVIEWS" else values[0]
        assert act(app, kind, key, value), f"{key} is not on the page"
        assert REACHED_BY.get(key, key) in app.query_params, key
    assert not changed_when_opened_cold(app, page, root, monkeypatch), app.query_params


def test_every_key_of_an_address_is_reached_by_an_act() -> None:
    reached = {REACHED_BY.get(key, key) for acts in (EVERYWHERE, *ACTS.values()) for _, key, _ in acts}
    elsewhere = {
        address.EXPERIMENT,
        address.SUCCESS,
        address.PLACE,
    }  # other tests; the rule of right answers is in test_generation_pages.py
    assert set(address._PARAMETERS) - elsewhere <= reached
    assert all(any(key.startswith(prefix) for key in reached) for prefix in address._PREFIXES)


def test_a_new_label_is_seen_by_the_list_and_the_filters(scored: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    example, names = int(scored.ids[0]), list(scored.label_names)
    assert scored.labels is not None
    new = names[1 - scored.labels[0]]
    scored.decide(Decision(kind=DecisionKind.RELABEL, ids=(example,), value=new))
    app = opened(f"inspect?experiment=reviews&label={new}&subset=full", scored.folder.root.parent, monkeypatch)
    table = app.dataframe[0].value
    assert example in table["id"].tolist() and set(table["label"]) == {new}
    view = View(scored, scored.settings.burn_in)
    assert view.slices("label")[1].iloc[0] == new
    assert 0 in view.matching(Filter(labels=(new,)), view.kept(view.subset("full")))


def test_undo_in_a_stale_tab_undoes_what_it_showed_and_nothing_else(scored: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    root = scored.folder.root.parent
    first = opened("inspect?experiment=reviews", root, monkeypatch)
    first.button(key="drop-this").click().run()
    mine = scored.decisions()[-1]
    other = Decision(kind=DecisionKind.DROP, ids=(int(scored.ids[5]),))
    scored.decide(other)  # in another tab, which the first has not seen
    assert first.button(key="undo").label.startswith("Undo drop")
    first.button(key="undo").click().run()
    assert "Undone" in first.toast[0].value
    assert scored.decisions()[-1].value == mine.key and scored.decided.dropped == {int(scored.ids[5])}
    stale = opened(f"inspect?experiment=reviews&example={scored.ids[5]}", root, monkeypatch)
    scored.decide(Decision(kind=DecisionKind.UNDO, value=other.key))
    lines = len(scored.decisions())
    stale.button(key="undo").click().run()
    assert len(scored.decisions()) == lines and "already undone" in stale.toast[0].value


def test_a_decision_over_one_that_another_tab_made_meanwhile_names_it(scored: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    app = opened("inspect?experiment=reviews&example=0", scored.folder.root.parent, monkeypatch)
    scored.decide(Decision(kind=DecisionKind.TAG, ids=(1,), value="of no interest here"))
    scored.decide(Decision(kind=DecisionKind.DROP, ids=(0, 5)))
    app.button(key="keep-this").click().run()
    said = app.toast[0].value.replace("\\", "").replace("\u2060", "")
    assert said == "Kept example 0. Meanwhile decided elsewhere: drop: 2 examples (0, 5). Press U to undo."
    app.button(key="drop-this").click().run()
    assert "Dropped example 1" in app.toast[0].value and "Meanwhile" not in app.toast[0].value  # its tag is shown by now


def test_one_key_acts_go_on_to_the_next_example(scored: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    root = scored.folder.root.parent
    app = opened("inspect?experiment=reviews&queue=suspected", root, monkeypatch)
    suspects = app.dataframe[0].value["id"].tolist()
    looks = app.dataframe[0].value["looks like"].tolist()
    app.button(key="relabel-suggested").click().run()
    app.button(key="keep-this").click().run()
    app.button(key="drop-this").click().run()
    decided = scored.decided
    assert decided.labels == {suspects[0]: looks[0]} and decided.kept >= {suspects[1]} and decided.dropped == {suspects[2]}
    assert heading(app) == f"Example {suspects[3] if len(suspects) > 3 else suspects[-1]}" and not app.exception


def test_an_empty_list_says_which_filter_empties_it(scored: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    app = opened("inspect?experiment=reviews&q=zzzz&label=positive", scored.folder.root.parent, monkeypatch)
    labels = [button.label.replace("\\", "") for button in app.button]
    positive = scored.labels.tolist().count(scored.label_names.index("positive"))
    assert f'{positive:,} without "zzzz"' in labels and "0 without label:\u2060 positive" in labels
    app.button(key="without-q").click().run()
    assert "q" not in app.query_params and len(app.dataframe[0].value) == min(50, positive)


def test_each_filter_has_a_chip_that_clears_it_alone(scored: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {"q": "film", "label": "positive", "show": "pruned", "sort": "loss"}
    app = opened(f"inspect?experiment=reviews&{urlencode(asked)}", scored.folder.root.parent, monkeypatch)
    assert {button.key for button in app.button if str(button.key).startswith("chip-")} == {"chip-q", "chip-label", "chip-show"}
    app.button(key="chip-label").click().run()
    assert not app.exception and "label" not in app.query_params
    assert {app.query_params[key] for key in ("q", "show", "sort")} == {"film", "pruned", "loss"}
    app.button(key="chip-show").click().run()
    app.button(key="chip-q").click().run()
    assert len(app.dataframe[0].value) == 50 and not [button for button in app.button if str(button.key).startswith("chip-")]


def test_a_review_queue_of_overview_opens_its_examples(scored: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    """And a filter left on Inspect before does not hide any of them."""
    root = scored.folder.root.parent
    app = opened("inspect?experiment=reviews&q=film&label=positive", root, monkeypatch)
    app.switch_page(str(OVERVIEW)).run()
    app.button(key="review-never").click().run()
    assert app.title[0].value == "Inspect" and not app.exception
    assert app.query_params["queue"] == "never" and "q" not in app.query_params and "label" not in app.query_params
    view = View(scored, scored.settings.burn_in)
    assert app.dataframe[0].value["id"].tolist() == scored.ids[view.h == 0].tolist()[:50]


def test_the_overviews_name_in_an_address_leads_to_the_root_with_the_same_state() -> None:
    with TestClient(Starlette(routes=ROUTES), follow_redirects=False) as client:
        answer = client.get("/overview?experiment=a%20b&subset=random%40500")
        assert (answer.status_code, answer.headers["location"]) == (307, "./?experiment=a%20b&subset=random%40500")
        assert client.get("/overview").headers["location"] == "./"
