"""Pieces of the pages on columns and scores that are awkward to show."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from pruning import browse
from pruning.analysis.frontier import pareto
from pruning.analysis.scores import SCORES
from pruning.analysis.stability import BINS, burn_in_advice, stability
from pruning.audit_report import findings
from pruning.browse import View
from pruning.experiment import Experiment
from pruning.files import write_json
from pruning.formatting import counted
from pruning.interop.recorder import Recorder
from pruning.jobs import background
from pruning.records import DecisionKind
from pruning.subsets.decisions import Decision
from pruning.subsets.rules import BASELINES, USUAL_BASELINES, ladder
from pruning.ui import charts, deciding, difficulty_selection, escaping, job_progress, reliability, state, tables, widgets
from tests.conftest import SEEDS
from tests.support.frontiers import measure
from tests.support.pages import open_page, press

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
    settings = {**experiment.info["settings"], "approximate": "lora"}
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
    assert any("at most 3 points worse" in info.value.replace("\\", "") for info in app.info)


def test_what_is_recommended_is_a_click_away(scored: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    """To make it the subset of every page, to measure what would settle it, and the rule to try where none beats random."""
    asked: list[list[str]] = []
    monkeypatch.setattr(background, "start", lambda words, folder: asked.append([str(word) for word in words]))
    monkeypatch.setattr(job_progress, "begun", lambda experiment: None)
    made = measure(scored, ours=0.02, random=0.0)
    app = open_page("frontier", made.folder.root.parent, monkeypatch)
    take = f"Make {escaping.markdown('random@remove-0')} the subset of every page"
    press(app, f"Measure {escaping.markdown('stratified@remove-0')}")
    assert "--subsets stratified@remove-0" in " ".join(asked[0]) and "--seeds 3" in " ".join(asked[0])
    press(app, take)
    assert take not in [button.label for button in app.button]
    assert not app.exception and app.sidebar.selectbox(key=state.SUBSET).value == "random@remove-0"
    rows = made.finished()
    made.folder.frontier.unlink()
    for row in rows.loc[rows["seed"] != SEEDS[0]].to_dict("records"):
        made.add_finished(row)
    app = open_page("frontier", made.folder.root.parent, monkeypatch)
    press(app, "1 more seed of each subset")
    assert "--subsets remove-0,random@remove-0" in " ".join(asked[1]) and "--seeds 3" in " ".join(asked[1])


def test_the_frontier_page_says_what_scoring_cost(scored: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    made = measure(scored)
    app = open_page("frontier", made.folder.root.parent, monkeypatch)
    app.selectbox(key="point").set_value("remove-0").run()
    told = {metric.label: (metric.value, metric.delta) for metric in app.metric}
    assert told["Cost to score"] == ("60 s", "pays back after 8")
    assert told["Saved a fine-tuning"] == ("8.0 s", "it takes 12 s")
    assert set(app.multiselect[1].options) == set(BASELINES) and app.multiselect[1].value == list(USUAL_BASELINES)
    app = open_page("frontier", approximated(made).folder.root.parent, monkeypatch)
    assert "Cost to score" not in [metric.label for metric in app.metric]


def test_what_nothing_beats_is_joined_by_a_line_and_marked_in_the_table(scored: Experiment) -> None:
    points = measure(scored, random=0.01).frontier()
    figure = charts.frontier(points, "accuracy", "remove-0", logarithmic=False)
    [line] = [trace for trace in figure.data if trace.mode == "lines"]
    front = [point.kept for point in pareto(points, "accuracy")]
    assert list(line.x) == pytest.approx(front, rel=0.02) and "random@remove-0" not in [
        point.subset for point in pareto(points, "accuracy")
    ]
    table = tables.frontier(points, "accuracy")
    assert set(table.loc[table["unbeaten"], "examples"]) == set(front)


@pytest.mark.parametrize("logarithmic", [False, True])
def test_points_of_one_size_stand_side_by_side(scored: Experiment, logarithmic: bool) -> None:
    points = measure(scored, random=0.01).frontier()
    figure = charts.frontier(points, "accuracy", "remove-0", logarithmic)
    places = {name: x for trace in figure.data if trace.mode == "markers" for x, [name] in zip(trace.x, trace.customdata, strict=True)}
    kept = {point.subset: point.kept for point in points}
    assert kept["remove-0"] == kept["random@remove-0"] and places["full"] == pytest.approx(kept["full"])
    assert 0 < abs(places["remove-0"] - places["random@remove-0"]) < 0.02 * kept["remove-0"]
    assert sum(places[name] for name in kept if name != "full") / 2 == pytest.approx(kept["remove-0"], rel=1e-4)


def test_a_saving_that_is_not_known_is_not_said(scored: Experiment) -> None:
    point = replace(measure(scored).frontier()[-1], seconds_saved=float("nan"), seeds=1)
    [text] = charts.frontier([point], "accuracy", "", logarithmic=False).data[-1].text
    assert "nan" not in text and "saved" not in text and "1 seed," in text


def test_the_difficulty_page_shows_whether_h_tells_difficulty_or_luck(scored: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    app = open_page("difficulty", scored.folder.root.parent, monkeypatch)
    advice = burn_in_advice(scored.dynamics)
    assert advice.sentence in [text.value for text in app.text]
    other = (advice.burn_in + 1) % scored.settings.scoring.epochs
    app.sidebar.number_input(key=state.BURN_IN).set_value(other).run()
    press(app, f"Look with burn-in {advice.burn_in}")
    assert not app.exception and app.sidebar.number_input(key=state.BURN_IN).value == advice.burn_in
    assert not [button.label for button in app.button if "burn-in" in button.label]
    table = reliability.by_place(advice)
    assert list(table.columns) == [*(f"run {run}" for run in range(len(SEEDS))), "mean"] and table.index[-1] == 100
    last = scored.dynamics.position[0, 0] * BINS // scored.dynamics.examples == BINS - 1
    assert table.loc[100, "run 0"] == pytest.approx(scored.dynamics.correct[0, 0][last].mean())
    assert scored.summary()["burn_in_advice"]["first_epoch_accuracy_by_place"][0][-1] == pytest.approx(table.loc[100, "run 0"])


def test_the_difficulty_page_says_whether_the_runs_are_enough(scored: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    app = open_page("difficulty", scored.folder.root.parent, monkeypatch)
    found = stability(scored.dynamics.correct, scored.settings.burn_in)
    told = {metric.label: (metric.value, metric.delta) for metric in app.metric}
    assert told["Of the ticket, added by the last run"][0] == f"{found.last_run_added:.0%}"
    assert told["Rank agreement of two halves"][0] == f"{found.half_rank:.2f}" and "95% interval" in told["Rank agreement of two halves"][1]
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

    assert told()[0].startswith("After 3 runs: Another 3 runs would rank")
    scored.folder.epoch(2, 1).unlink()
    assert told()[0].startswith("After 2 runs:")
    scored.folder.epoch(1, 1).unlink()
    assert told() == []


def test_a_score_with_infinite_values_has_a_slider(scored: Experiment) -> None:
    view = View(scored, scored.settings.burn_in)
    view.score("loss")[3] = np.inf
    found = difficulty_selection.span(view, "loss")
    assert np.isfinite([found.low, found.high]).all() and found.low < found.high


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
    next(button for button in app.button if button.label == "Undo").click().run()
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
    told = f"Suspected wrong label: looks like {table['looks like'][0]}."
    assert not app.exception and told in [text.value for text in app.text]


@pytest.mark.parametrize("kind", browse.HARD)
def test_an_example_that_no_run_got_right_says_why(kind: str, scored: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    view = View(scored, scored.settings.burn_in)
    count = int((view.hard == browse.HARD[kind]).sum())
    app = open_page("inspect", scored.folder.root.parent, monkeypatch)
    app.segmented_control(key="show").set_value("all").run()
    app.selectbox(key="only").set_value(kind).run()
    assert not app.exception and any(text.value.startswith(f"{counted(count, 'example matches', 'examples match')}") for text in app.text)
    said = [html.proto.body for html in app.get("html") if "No run got it right" in html.proto.body]
    assert len(said) == bool(count) and all(str(browse.HARD[kind]) in line for line in said)


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
        next(button for button in app.button if button.label == "Undo").click().run()
    assert not app.exception and scored.decided.dropped == set(scored.ids[2:11].tolist())
    told = [text.value for text in app.text]
    assert "drop: example 2" in told and "tag slang: 7 examples (0, 1, 2, 3, 4 ...)" in told


def test_the_open_example_is_relabelled_tagged_and_noted_by_itself(scored: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    app = open_page("inspect", scored.folder.root.parent, monkeypatch)
    app.number_input(key="at").set_value(2).run()
    example = int(app.dataframe[0].value["id"][1])
    assert f"Example {example}" in [heading.value for heading in app.subheader]
    app.text_input(key="tag-one").set_value("slang").run()
    app.text_input(key="note-one").set_value("look again").run()
    new = next(name for name in scored.label_names if name != app.dataframe[0].value["label"][1])
    app.selectbox(key="relabel-one").set_value(new).run()
    decided = scored.decided
    assert (decided.tags, decided.notes, decided.labels) == ({example: {"slang"}}, {example: "look again"}, {example: new})
    assert not app.exception and f"By hand: label {new}, tagged slang, note: look again." in [text.value for text in app.text]
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
    assert not app.exception and app.sidebar.selectbox[0].value == "reviews-copy"
    app.text_input(key="duplicate").set_value("films")
    press(app, "Duplicate it")
    assert (Experiment(root / "films").h_score() == scored.h_score()).all() and app.sidebar.selectbox[0].value == "films"
    app.text_input(key="duplicate").set_value("films")
    press(app, "Duplicate it")
    assert any("already" in toast.value for toast in app.toast) and len(list(root.iterdir())) == 3


def test_the_subset_of_a_view_is_saved_on_export_and_becomes_the_subset_of_every_page(
    scored: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticket = scored.subset("winning-ticket")
    scored.decide(Decision(kind=DecisionKind.DROP, ids=(int(ticket.kept[0]),)))
    app = open_page("export", scored.folder.root.parent, monkeypatch)
    app.text_input(key="subset-name").set_value("full")
    press(app, "Save it")
    assert "has a meaning of its own" in app.toast[0].value and not scored.folder.subsets.exists()
    app.text_input(key="subset-name").set_value("mine")
    press(app, "Save it")
    assert not app.exception and "Saved" in app.toast[0].value
    assert scored.subset("mine").kept.tolist() == ticket.kept[1:].tolist()
    chosen, place = app.sidebar.selectbox(key=state.SUBSET), len(ladder(len(SEEDS)))
    assert chosen.value == "mine" and chosen.options[place : place + 2] == ["mine", "drop-easy"]
    assert any(text.value.startswith(f"mine: {ticket.size - 1:,} of {ticket.total:,} examples") for text in app.text)
    app.sidebar.number_input(key=state.BURN_IN).set_value(0).run()
    assert any(text.value.startswith(f"mine: {ticket.size - 1:,} of {ticket.total:,} examples") for text in app.text)
    assert not app.exception and not app.error
