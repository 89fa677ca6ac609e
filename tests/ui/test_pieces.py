"""Pieces of the pages on columns and scores that are awkward to show."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from pruning.analysis.frontier import pareto
from pruning.analysis.scores import SCORES
from pruning.analysis.stability import stability
from pruning.experiment import Experiment
from pruning.files import write_json
from pruning.formatting import counted
from pruning.interop.recorder import Recorder
from pruning.jobs import background
from pruning.records import DecisionKind
from pruning.reports import conditions
from pruning.reports.audit_report import findings
from pruning.reports.browse import View
from pruning.store.lock import own
from pruning.subsets import titles
from pruning.subsets.decisions import Decision
from pruning.subsets.rules import BASELINES, OF_ANSWERS, USUAL_BASELINES, ladder
from pruning.ui import (
    address,
    charts,
    context_bar,
    deciding,
    difficulty_selection,
    escaping,
    job_progress,
    reliability,
    state,
    tables,
    widgets,
)
from tests.conftest import SEEDS
from tests.support.frontiers import measure
from tests.support.pages import open_page, press

pytestmark = pytest.mark.process

EXAMPLES = 48


@pytest.fixture
def awkward(tmp_path: Path) -> Experiment:
    """Texts that come three times each, many values of which "other" is one, lists, and moments a second apart."""
    rows = [
        {
            "review": f"a review of {chr(ord('a') + index // 3) * 12}",
            "label": "good" if index % 2 else "bad",
            "source": "other" if index % 4 == 0 else f"s{index % 12}",
            "options": ["good", "bad"] if index % 3 else [],
            "when": 1_700_000_000 + index,
        }
        for index in range(EXAMPLES)
    ]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    recorder = Recorder(tmp_path / "experiments" / "x", tmp_path / "train.jsonl", epochs=1, runs=3)
    random = np.random.default_rng(0)
    for seed in recorder.seeds:
        recorder.run(seed).add(np.arange(len(recorder.labels)), np.eye(2)[recorder.labels] + random.normal(size=(len(recorder.labels), 2)))
    return Experiment(tmp_path / "experiments" / "x")


def test_a_value_called_other_is_among_the_others(awkward: Experiment) -> None:
    view = View(awkward, 0)
    counted, colours = widgets.parts(view, np.ones(len(view.h), dtype=bool), "source")
    assert counted.cat.categories[-1] == "other" and len(counted.cat.categories) == len(colours) <= widgets.MOST_PARTS + 1
    assert (counted == "other").sum() >= (view.slices("source")[1] == "other").sum() > 0


@pytest.mark.parametrize("column", ["source", "options", "when"])
def test_every_column_can_be_chosen(awkward: Experiment, column: str, monkeypatch: pytest.MonkeyPatch) -> None:
    app = open_page("difficulty", awkward.folder.root.parent, monkeypatch)
    app.selectbox(key="stack").set_value(column).run()
    assert not app.exception


def test_the_audit_is_of_every_column_lists_too(awkward: Experiment) -> None:
    found = findings(awkward, awkward.subset("random@0.5"))
    assert {"label", "source", "words in options", "when"} <= {shares.column for shares in found.shares} | {"words in options"}
    assert any("options" in shares.column for shares in found.shares)


def approximated(experiment: Experiment) -> Experiment:
    settings = {**experiment.info["settings"], "approximate": "epochs", "burn_in": 0}
    write_json(experiment.folder.manifest, {**experiment.info, "settings": settings})
    return Experiment(experiment.folder.root)


@pytest.mark.parametrize("page", ["difficulty", "frontier", "inspect"])
def test_approximate_scores_are_called_so_wherever_they_are_shown(page: str, scored: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    made = approximated(scored)
    app = open_page(page, made.folder.root.parent, monkeypatch)
    assert made.settings.caveat in [warning.value for warning in app.warning]


def test_the_margin_is_set_on_the_frontier_page(scored: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    made = measure(scored, ours=0.02, random=0.06)
    app = open_page("frontier", made.folder.root.parent, monkeypatch)
    assert app.number_input(key="margin").value == 0.5
    assert any("None yet" in info.value for info in app.info)
    app.number_input(key="margin").set_value(3.0).run()
    assert any("at most 3 pp worse" in info.value.replace("\\", "") for info in app.info)


def test_what_is_recommended_is_a_click_away(scored: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    """To make it the subset of every page, and to measure what would settle it."""
    asked: list[list[str]] = []
    monkeypatch.setattr(background, "start", lambda words, folder: asked.append([str(word) for word in words]))
    monkeypatch.setattr(job_progress, "begun", lambda experiment, worker: None)
    made = measure(scored, ours=0.02, random=0.0)
    app = open_page("frontier", made.folder.root.parent, monkeypatch)
    take = f"Use {escaping.markdown(titles.short('random@remove-0'))}"
    press(app, take)
    assert take not in [button.label for button in app.button]
    assert not app.exception and app.selectbox(key=address.SUBSET).value == "random@remove-0"
    rows = made.finished()
    made.folder.frontier.unlink()
    for row in rows.loc[rows["seed"] != SEEDS[0]].to_dict("records"):
        made.add_finished(row)
    app = open_page("frontier", made.folder.root.parent, monkeypatch)
    press(app, "1 more seed of each subset")
    assert "--subsets remove-0,random@remove-0" in " ".join(asked[0]) and "--seeds 3" in " ".join(asked[0])


def test_the_frontier_page_says_what_the_chosen_subset_costs(scored: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    """Time by optimizer steps, not by a busy machine's clock: of 20 s and 90 steps of full data, a subset of 36 steps saves 12 s."""
    made = measure(scored)
    app = open_page("frontier", made.folder.root.parent, monkeypatch)
    app.selectbox(key="subset").set_value("remove-0").run()
    [point] = [point for point in made.frontier() if point.subset == "remove-0"]
    told = {metric.label: (metric.value, metric.delta) for metric in app.metric}
    assert told["Keeps"] == (f"{point.kept_fraction:.0%}", f"{point.kept:,} examples")
    finished = made.finished()
    saved = point.steps_saved * finished["seconds"].sum() / finished["steps"].sum()
    assert point.seconds_saved == pytest.approx(saved) and saved > 0
    assert [caption.value for caption in app.caption if caption.value.startswith(f"Saves {point.steps_saved:,} steps")]
    [row] = tables.frontier([point], "accuracy").to_dict("records")
    assert row["seconds saved"] == round(point.seconds_saved, 1)
    assert set(app.multiselect[0].options) >= {"winning-ticket"}
    assert set(app.multiselect[1].options) == set(BASELINES) - set(OF_ANSWERS) and app.multiselect[1].value == list(USUAL_BASELINES)


def test_points_stand_at_their_share_and_the_pareto_front_is_in_the_table(scored: Experiment) -> None:
    points = measure(scored, random=0.01).frontier()
    figure = charts.frontier(points, "accuracy", "remove-0", margin=0.005)
    places = {name: x for trace in figure.data if trace.customdata is not None for x, [name] in zip(trace.x, trace.customdata, strict=True)}
    assert places == {point.subset: point.kept_fraction for point in points}
    assert figure.layout.xaxis.range == (-0.02, 1.04) and "your choice" in figure.layout.annotations[-1].text
    full = next(point for point in points if point.subset == "full").metrics["accuracy"]
    [band] = [shape for shape in figure.layout.shapes if shape.type == "rect"]
    assert (band.y0, band.y1) == (pytest.approx(full - 0.005), pytest.approx(full))
    table = tables.frontier(points, "accuracy")
    assert set(table.loc[table["Pareto front"], "name"]) == {point.subset for point in pareto(points, "accuracy")}


def test_the_difficulty_page_says_whether_the_runs_are_enough(scored: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    app = open_page("difficulty", scored.folder.root.parent, monkeypatch)
    found = stability(scored.dynamics.correct, scored.settings.burn_in)
    assert not [
        label for label in [*(m.label for m in app.metric), *(b.label for b in app.button)] if "urn-in" in label or "epoch" in label
    ]
    told = {metric.label: (metric.value, metric.delta) for metric in app.metric}
    assert told["Added by the last run"][0] == f"{found.last_run_added:.0%}"
    assert told["Rank agreement (Spearman)"][0] == f"{found.half_rank:.2f}"
    assert {found.sentence, found.about_more} <= {text.value for text in app.text}
    table = reliability.by_runs(found, EXAMPLES)
    assert table["forecast"].to_dict() == {1: False, 2: False, 3: False, 5: True, 9: True}


def test_after_each_run_a_line_says_how_steady_h_is(scored: Experiment) -> None:
    def line(folder: str) -> None:
        from pruning.experiment import Experiment
        from pruning.ui import reliability

        reliability.line(Experiment(folder))

    def told() -> list[str]:
        return [text.value for text in AppTest.from_function(line, args=(str(scored.folder.root),)).run().text]

    assert told()[0].startswith("After 3 runs: 3 more runs would agree")
    scored.folder.epoch(2, 1).unlink()
    assert told()[0].startswith("After 2 runs:")
    scored.folder.epoch(1, 1).unlink()
    assert told() == []


def test_a_score_with_infinite_values_has_a_slider(scored: Experiment) -> None:
    view = View(scored, scored.settings.burn_in)
    view.score("loss")[3] = np.inf
    found = difficulty_selection.span(view, "loss")
    assert np.isfinite([found.low, found.high]).all() and found.low < found.high


@pytest.mark.process
@pytest.mark.parametrize("spread", [0.0, 1e-6, 0.008])
def test_difficulty_opens_on_scores_that_hardly_differ(spread: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the sample's own do after a short fine-tuning: probabilities between 0.496 and 0.504."""
    (tmp_path / "train.jsonl").write_text(
        "".join(json.dumps({"text": f"text {i}", "label": ("bad", "good")[i % 2]}) + "\n" for i in range(20))
    )
    recorder = Recorder(tmp_path / "experiments" / "alike", tmp_path / "train.jsonl", epochs=2, runs=3)
    random = np.random.default_rng(0)
    for seed in recorder.seeds:
        run = recorder.run(seed)
        for _ in range(2):
            run.add(np.arange(20), spread * random.random((20, 2)))
    app = open_page("difficulty", tmp_path / "experiments", monkeypatch)
    assert not app.exception
    names = View(Experiment(tmp_path / "experiments" / "alike"), 0).score_names
    for name in names:
        app.selectbox(key="x").set_value(name)
        app.selectbox(key="y").set_value(name).run()
        assert not app.exception and not app.error, name


def test_one_of_each_group_is_kept_on_inspect_and_undone(awkward: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    own = awkward.duplicates.group[: len(awkward.ids)]
    app = open_page("inspect", awkward.folder.root.parent, monkeypatch)
    assert "Keep one of each group" not in [button.label for button in app.button]
    app.segmented_control(key="show").set_value("all").run()
    app.selectbox(key="only").set_value("duplicates").run()
    app.segmented_control(key="where").set_value("all").run()
    app.button(key="keep-one").click().run()
    assert not app.exception
    left = np.isin(awkward.ids, list(awkward.decided.dropped), invert=True)
    assert 0 < left.sum() < len(left) and np.bincount(own[left & (own >= 0)]).max() == 1
    assert set(own) == set(own[left])
    app.button(key="undo").click().run()
    assert not awkward.decided.dropped


def test_suspects_come_worst_first_with_what_they_look_like(scored: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    errors, names = scored.label_errors, scored.label_names
    assert errors is not None
    app = open_page("inspect", scored.folder.root.parent, monkeypatch)
    assert "looks like" not in app.dataframe[0].value.columns
    app.segmented_control(key="show").set_value("all").run()
    app.selectbox(key="only").set_value("suspected label errors").run()
    table = app.dataframe[0].value
    assert table["id"].tolist() == scored.ids[errors.ranked].tolist() != []
    assert table["looks like"].tolist() == [names[i] for i in errors.suggested[errors.ranked]]
    assert (table["looks like"] != table["label"]).all()
    doubts = [line.value for line in app.markdown if line.value.startswith("**Why its label is doubted:**")]
    assert not app.exception and len(doubts) == 1 and f"predictions are {table['looks like'][0]}" in doubts[0].replace("\\", "")
    assert app.button(key="relabel-suggested").label == f"Relabel to {table['looks like'][0]} and keep"


@pytest.mark.parametrize("kind", conditions.HARD)
def test_an_example_that_no_run_got_right_says_why(kind: str, scored: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    view = View(scored, scored.settings.burn_in)
    count = int((view.hard == conditions.HARD[kind]).sum())
    app = open_page("inspect", scored.folder.root.parent, monkeypatch)
    app.segmented_control(key="show").set_value("all").run()
    app.selectbox(key="only").set_value(kind).run()
    assert not app.exception and any(
        line.value.startswith(f"{counted(count, 'example matches', 'examples match')}") for line in app.caption
    )
    said = [line.value for line in app.markdown if line.value.startswith(("**Never right:**", "**Why its label is doubted:**"))]
    assert len(said) == bool(count)


def test_decisions_say_which_examples_and_older_ones_are_on_the_next_page(scored: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    for example in scored.ids[:11].tolist():
        scored.decide(Decision(kind=DecisionKind.DROP, ids=(example,)))
    scored.decide(Decision(kind=DecisionKind.TAG, ids=tuple(scored.ids[:7].tolist()), value="slang"))
    app = open_page("inspect", scored.folder.root.parent, monkeypatch)
    told = [text.value for text in app.text]
    assert "tag slang: 7 examples (0, 1, 2, 3, 4 ...)" in told and "drop: example 10" in told and "drop: example 1" not in told
    app.session_state[deciding.PAGE] = 2
    app.run()
    assert "drop: example 1" in [text.value for text in app.text]
    for _ in range(2):
        next(button for button in app.button if button.key and button.key.startswith("undo-")).click().run()
    assert not app.exception and scored.decided.dropped == set(scored.ids[2:11].tolist())
    told = [text.value for text in app.text]
    assert "drop: example 2" in told and "tag slang: 7 examples (0, 1, 2, 3, 4 ...)" in told


def test_the_open_example_is_relabelled_tagged_and_noted_by_itself(scored: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    app = open_page("inspect", scored.folder.root.parent, monkeypatch)
    app.button(key="step-on").click().run()
    example = int(app.dataframe[0].value["id"][1])
    assert f"Example {example}" in [heading.value for heading in app.subheader]
    app.text_input(key="tag-one").set_value("slang").run()
    app.text_input(key="note-one").set_value("look again").run()
    new = next(name for name in scored.label_names if name != app.dataframe[0].value["label"][1])
    app.selectbox(key="relabel-one").set_value(new).run()
    decided = scored.decided
    assert (decided.tags, decided.notes, decided.labels) == ({example: {"slang"}}, {example: "look again"}, {example: new})
    assert not app.exception and app.dataframe[0].value["decision"][1] == f"keep, label {new}, tagged slang, note: look again"
    assert app.dataframe[0].value["label"][1] == new
    assert (app.text_input(key="note-one").value, app.selectbox(key="relabel-one").value) == ("", None)


@pytest.mark.parametrize(("page", "keys"), [("difficulty", ("x", "y")), ("inspect", ("score", "sort"))])
def test_boxes_that_offer_scores_say_what_each_measures(
    page: str, keys: tuple[str, ...], scored: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = open_page(page, scored.folder.root.parent, monkeypatch)
    offered = View(scored, scored.settings.burn_in).score_names
    for key in keys:
        box = app.selectbox(key=key)
        assert len(offered) > 8 and {SCORES[name].title for name in offered} <= set(box.options)
        assert all(f"**{SCORES[name].title}**: {SCORES[name].sentence}" in box.help for name in offered)


def test_an_experiment_is_duplicated_and_the_copy_opened(scored: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    root = scored.folder.root.parent
    app = open_page("score", root, monkeypatch)
    press(app, "Duplicate it")
    assert not app.exception and app.selectbox(key="experiment").value == "reviews-copy"
    app.text_input(key="duplicate").set_value("films")
    press(app, "Duplicate it")
    assert (Experiment(root / "films").h_score() == scored.h_score()).all() and app.selectbox(key="experiment").value == "films"
    app.text_input(key="duplicate").set_value("films")
    press(app, "Duplicate it")
    assert any("already" in toast.value for toast in app.toast) and len(list(root.glob("*/experiment.json"))) == 3


def test_the_subset_of_a_view_is_saved_on_export_and_becomes_the_subset_of_every_page(
    scored: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticket = scored.subset("winning-ticket")
    scored.decide(Decision(kind=DecisionKind.DROP, ids=(int(ticket.kept[0]),)))
    app = open_page("export", scored.folder.root.parent, monkeypatch)
    app.text_input(key="subset-name").set_value("full")
    press(app, "Save")
    assert "is the name of a rule" in app.toast[0].value and not scored.folder.subsets.exists()
    app.text_input(key="subset-name").set_value("mine")
    press(app, "Save")
    assert not app.exception and "Saved" in app.toast[0].value
    assert scored.subset("mine").kept.tolist() == ticket.kept[1:].tolist()
    chosen, place = app.selectbox(key=address.SUBSET), len(ladder(len(SEEDS)))
    assert chosen.value == "mine" and chosen.options[place : place + 3] == ["Winnow's choice", "mine", "Drop suspected labels"]
    assert {"Rows": f"{ticket.size - 1:,}"}.items() <= {metric.label: metric.value for metric in app.metric}.items()
    app.number_input(key=address.BURN_IN).set_value(0).run()
    assert {"Rows": f"{ticket.size - 1:,}"}.items() <= {metric.label: metric.value for metric in app.metric}.items()
    assert not app.exception and not app.error


def test_before_the_first_epoch_the_page_says_what_it_waits_for(scored: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of an empty chart: short trials first where the learning rate is fitted, else the first epoch."""
    said: list[str] = []
    monkeypatch.setattr(job_progress.st, "text", said.append)
    for rate in (2e-4, None):
        waiting: Any = SimpleNamespace(settings=scored.settings.with_changes(learning_rate=rate))
        job_progress._curves(waiting, np.full((2, 3), np.nan))
    assert said == ["No run has finished an epoch yet.", "No run yet: short trials fit the learning rate first."]


def test_the_curves_of_runs_that_were_never_right_lie_between_none_and_all() -> None:
    never = charts.learned(pd.DataFrame({"run 0": [0.0, 0.0], "run 1": [0.0, np.nan]}), None)
    assert never.layout.yaxis.range == (0, 1)
    assert charts.learned(pd.DataFrame({"run 0": [0.0, 0.2]}), None).layout.yaxis.range is None


def test_a_label_with_brackets_is_its_badge_letter_by_letter() -> None:
    """Streamlit escapes the brackets of a badge itself; with ours before them, a backslash is seen and the bracket ends the badge."""
    app = AppTest.from_string(
        "import streamlit as st\nfrom pruning.ui import escaping\nst.badge(escaping.badge('label: :red[no] ]'))"
    ).run()
    assert app.markdown[0].value == ":blue-badge[label\\:\u2060 \\:\u2060red\\[no\\] \\]]"


def test_an_open_page_is_drawn_again_when_its_job_ends(scored: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []
    monkeypatch.setattr(state, "chosen", lambda: scored)
    monkeypatch.setattr(context_bar.st, "rerun", lambda: drawn.append("again"))
    with own(scored.folder):
        scored.log("started", state="running", verb="frontier", pid=1)
        context_bar._job("frontier", True)
        assert not drawn
    context_bar._job("frontier", False)
    context_bar._job("score", True)  # its own panel does that
    assert not drawn
    context_bar._job("frontier", True)
    assert drawn == ["again"]
