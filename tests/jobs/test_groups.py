"""A group whose signal is only in pruned examples, from the training to the pages, the export and the command line."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pruning.experiment import Experiment
from pruning.export import writer
from pruning.fine_tunings import MODEL, RIGHT
from pruning.jobs import worker
from pruning.records import Subset
from pruning.reports.groups import floored
from pruning.settings import Settings, TrainSettings
from pruning.store.checksums import checksummed
from pruning.ui import address, escaping
from tests.conftest import made_once
from tests.support.commands import winnow
from tests.support.pages import open_page

pytestmark = pytest.mark.process

PLANTED = "kind = rare"


def write_kinds(path: Path, examples: int, seed: int) -> None:
    """Reviews of two kinds with words of their own; a quarter is rare. `shop` says nothing, and `ticket` is an id of two reviews."""
    random = np.random.default_rng(seed)
    words = {
        ("usual", 1): ["good", "great", "fun", "best"],
        ("usual", 0): ["bad", "awful", "dull", "worst"],
        ("rare", 1): ["moving", "love"],
        ("rare", 0): ["slow", "hate"],
    }
    with path.open("w", encoding="utf-8") as file:
        for index in range(examples):
            kind, label = "rare" if index % 4 == 3 else "usual", int(random.integers(2))
            text = " ".join(random.choice(words[kind, label], 3)) + " film"
            row = {"text": text, "label": ["negative", "positive"][label], "kind": kind, "shop": f"shop {random.integers(3)}"}
            file.write(json.dumps({**row, "ticket": f"{path.stem} {index // 2}"}) + "\n")


@pytest.fixture(scope="session")
def measured_once(tiny: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An experiment with a subset without the rare kind and one without a third of everything, both measured with three seeds."""

    train = made_once(tmp_path_factory, "kinds.jsonl", lambda path: write_kinds(path, 240, 0))
    evaluation = made_once(tmp_path_factory, "kinds-eval.jsonl", lambda path: write_kinds(path, 160, 1))
    recipe = TrainSettings(epochs=3, batch_size=8, learning_rate=5e-3, device="cpu")
    settings = Settings(
        data=str(train), evaluation=str(evaluation), model=tiny, seeds=(11, 22, 33), max_length=16, look=False, train=recipe
    )

    def make(path: Path) -> None:
        experiment = worker.score(settings, path)
        kinds = experiment.examples(["source.kind"])["source.kind"].to_pylist()
        usual = experiment.ids[np.array(kinds) == "usual"]
        for name, kept in (("usual-only", usual), ("two-thirds", experiment.ids[np.arange(240) % 3 > 0])):
            experiment.save(name, Subset(name=name, method="test", rule=name, kept=kept, total=240))
        worker.frontier(path, ["usual-only", "two-thirds"], [], seeds=3)

    return made_once(tmp_path_factory, "kinds", make)


@pytest.fixture
def measured(measured_once: Path, tmp_path: Path) -> Experiment:
    return Experiment(shutil.copytree(measured_once, tmp_path / "kinds"))


def test_a_planted_group_is_flagged_and_its_floor_keeps_it(measured: Experiment) -> None:
    pruned = measured.subset("usual-only")
    found = measured.groups(pruned)
    assert {point.subset: point.metrics["accuracy"] for point in measured.frontier()}["full"] > 0.9, "the model learned"
    assert found.losing[0].name == PLANTED and {row.column for row in found.losing[1:]} <= {"label"}, (
        "a model reads unknown words as one class"
    )
    assert {row.column for row in found.rows} == {"label", "words in text", "kind", "shop"}
    rare = found.losing[0]
    assert (rare.evaluated, rare.kept, rare.total, rare.floor) == (40, 0, 60, 30) and rare.change.high < -0.2
    better = floored(measured, pruned, found)
    assert better is not None and better.size >= pruned.size + 30
    kinds = np.array(measured.examples(["source.kind"])["source.kind"].to_pylist())[better.mask(measured.ids)]
    assert (kinds == "rare").sum() == better.size - pruned.size and "; at least 30 of kind = rare" in better.rule
    assert not measured.groups(measured.subset("two-thirds")).losing


def test_the_loss_is_in_the_audit_the_summary_and_the_manifest(measured: Experiment, tmp_path: Path) -> None:
    audit = measured.audit("usual-only")
    assert any(sentence.startswith(f"! {PLANTED} loses") for sentence in audit.sentences())
    assert {each["column"] for each in audit.to_dict()["shares"]} == {"label", "words in text", "kind", "shop"}, "no groups of two"
    assert audit.to_dict()["by_group"]["losing"][0]["value"] == "rare"
    summary = {each["subset"]: each for each in measured.summary()["groups"] if each["budget"] == "epochs"}
    assert summary["usual-only"]["losing"][0]["value"] == "rare" and not summary["two-thirds"]["losing"]
    json.dumps(summary, allow_nan=False)
    manifest = measured.export("usual-only", tmp_path / "out.jsonl")
    assert manifest["groups"]["losing"][0]["floor"] == 30 and manifest["groups"]["correction"] == "Benjamini-Hochberg"
    assert any(sentence.startswith(PLANTED) for sentence in manifest["warnings"])
    assert json.loads(writer.manifest_path(tmp_path / "out.jsonl").read_text())["groups"] == manifest["groups"]


@pytest.mark.process
def test_the_verb_prints_the_groups_and_saves_the_floors(measured: Experiment) -> None:
    root = measured.folder.root
    shown = winnow("groups", root, "--subset", "usual-only", "--save", "with-rare")
    assert shown.returncode == 0, shown.stderr
    assert f"! {PLANTED}" in shown.stdout and Experiment(root).subset("with-rare").size >= 210
    plain = json.loads(winnow("groups", root, "--subset", "two-thirds", "--json").stdout)
    assert (plain["losing"], plain["proposed"]) == ([], None) and 2 < plain["tested"] <= len(plain["rows"])
    listed = winnow("show", root)
    assert "They are kind = rare" in listed.stdout
    unmeasured = winnow("groups", root, "--subset", "drop-easy")
    assert unmeasured.returncode == 0 and "not measured; measure it on the frontier" in unmeasured.stdout


def test_experiments_from_before_open_and_say_what_is_missing(measured: Experiment) -> None:
    """Their frontier.parquet has neither the predictions nor the model."""
    before = measured.frontier()
    table = pd.read_parquet(measured.folder.frontier).drop(columns=[RIGHT, MODEL])
    with checksummed(measured.folder, measured.folder.frontier) as temporary:
        table.to_parquet(temporary, index=False)
    old = Experiment(measured.folder.root)
    assert old.frontier() == before
    found = old.groups(old.subset("usual-only"))
    assert not found.rows and "measure more seeds of it" in found.sentence
    again = worker.frontier(measured.folder.root, ["usual-only"], [], seeds=4)
    assert again.finished(right=True)[RIGHT].notna().sum() == 2 and again.groups(again.subset("usual-only")).seeds == 1


def test_the_pages_name_the_group_before_anything_is_exported(measured: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    app = open_page("frontier", measured.folder.root.parent, monkeypatch)
    app.selectbox(key="subset").set_value("usual-only").run()
    assert not app.exception and any("lose more under" in warning.value for warning in app.warning)
    next(button for button in app.button if button.label == "Save").click().run()
    assert not app.exception and app.session_state[address.SUBSET] == "with-floors"
    export = open_page("export", measured.folder.root.parent, monkeypatch)
    export.selectbox(key="subset").set_value("usual-only").run()
    assert not export.exception and any(warning.value.startswith(escaping.markdown(PLANTED)) for warning in export.warning)
