"""A subset's name stands for the same rows on the command line, in a notebook, on a page and in an export."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from typer.testing import CliRunner

from pruning.analysis.frontier import rows_sha256
from pruning.cli import app
from pruning.errors import UsageError
from pruning.experiment import Experiment
from pruning.export import writer
from pruning.jobs import worker
from pruning.records import DecisionKind
from pruning.reports.browse import View
from pruning.subsets.decisions import Decision
from tests.conftest import EXAMPLES
from tests.support.pages import opened

NAMES = ("winning-ticket", "random@winning-ticket", "mine", "drop-hard or mine", "full minus remove-0", "drop-suspects")
READINGS = tuple(product((0, 1), (True, False)))


def winnow(*words: str | Path | int) -> str:
    """The output of a verb that succeeds."""
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, done.stderr
    return done.stdout


def flags(burn_in: int, decisions: bool) -> list[str]:
    return ["--burn-in", str(burn_in), *(["--without-decisions"] if not decisions else [])]


def relabel(experiment: Experiment, example: int) -> str:
    """Give an example another label by hand; the label."""
    assert experiment.labels is not None
    old = experiment.labels[experiment.ids.tolist().index(example)]
    label = next(name for name in experiment.label_names if name != experiment.label_names[old])
    experiment.decide(Decision(kind=DecisionKind.RELABEL, ids=(example,), value=label))
    return label


@pytest.fixture
def decided(scored: Experiment) -> Experiment:
    """A saved subset; an example that the ticket keeps dropped, one that it prunes kept, another that it prunes relabelled."""
    scored.save("mine", scored.subset("drop-hard"))
    ticket = scored.reading(0).subset("winning-ticket")
    pruned = scored.ids[~ticket.mask(scored.ids) & ~scored.reading(1).subset("winning-ticket").mask(scored.ids)]
    scored.decide(Decision(kind=DecisionKind.DROP, ids=(int(ticket.kept[0]),)))
    scored.decide(Decision(kind=DecisionKind.KEEP, ids=(int(pruned[0]),)))
    relabel(scored, int(pruned[1]))
    return Experiment(scored.folder.root)


def expected(experiment: Experiment, name: str, burn_in: int, decisions: bool) -> list[int]:
    """The rule's rows, and the three acts above worked in by hand."""
    rows = set(experiment.reading(burn_in, decisions=False).rule(name).kept.tolist())
    if decisions:
        rows = (rows | {*experiment.decided.kept}) - {*experiment.decided.dropped}
    return sorted(rows)


@pytest.mark.process
@pytest.mark.parametrize("name", NAMES)
def test_a_name_means_the_same_rows_everywhere(decided: Experiment, name: str, tmp_path: Path) -> None:
    """Command line, notebook and export, with both burn-ins, with decisions and without; pages always have decisions."""
    assert len(decided.decided.kept) == 2 and len(decided.decided.dropped) == 1
    for burn_in, decisions in READINGS:
        rows = expected(decided, name, burn_in, decisions)
        reading = decided.reading(burn_in, decisions)
        assert reading.subset(name).kept.tolist() == rows
        notebook = reading.export(name, tmp_path / f"notebook-{burn_in}-{decisions}.jsonl")
        file = tmp_path / f"command-{burn_in}-{decisions}.jsonl"
        winnow("export", decided.folder.root, "--subset", name, "--output", file, *flags(burn_in, decisions))
        command = writer.verify(file)
        for manifest in (notebook, command):
            assert manifest["ids"] == rows and manifest["subset"]["burn_in"] == burn_in
            assert manifest["decisions"] == notebook["decisions"]
        audited = json.loads(winnow("audit", decided.folder.root, "--subset", name, "--json", *flags(burn_in, decisions)))
        assert (audited["subset"], audited["kept"]) == (notebook["subset"]["name"], len(rows))
        assert audited["suspects"] == [*reading.audit(name).to_dict()["suspects"]]
        if decisions:
            view = View(decided, burn_in)
            assert view.subset(name).kept.tolist() == view.subset(f"{name}+decisions").kept.tolist() == rows
            assert writer.is_current(command, view.experiment, view.subset(name)), "what a page would build"
            assert reading.subset(f"{name}+decisions").kept.tolist() == rows


@pytest.mark.process
@pytest.mark.parametrize(("burn_in", "names"), [(0, NAMES[:3]), (1, NAMES[3:])])
def test_the_export_page_builds_the_rows_that_the_command_writes(
    decided: Experiment, burn_in: int, names: Sequence[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in names:
        app = opened(f"export?experiment=reviews&subset={quote(name)}&burn_in={burn_in}", decided.folder.root.parent, monkeypatch)
        app.button(key="build").click().run()
        assert not app.exception
        reading = decided.reading(burn_in)
        manifest = writer.verify(writer.default_output(reading, reading.subset(name), "jsonl"))
        assert manifest["ids"] == expected(decided, name, burn_in, True) and manifest["subset"]["burn_in"] == burn_in


def test_what_is_saved_by_command_is_what_was_named(decided: Experiment) -> None:
    for burn_in, decisions in READINGS:
        name = f"ticket-{burn_in}-{'decided' if decisions else 'rule'}"
        told = winnow("save", decided.folder.root, "winning-ticket", name, *flags(burn_in, decisions))
        assert decided.saved[name].kept.tolist() == expected(decided, "winning-ticket", burn_in, decisions)
        assert ("2 kept and 1 dropped by hand" in told) == decisions


def test_labels_follow_the_same_switch(decided: Experiment, tmp_path: Path) -> None:
    (example, label), *others = decided.decided.labels.items()
    assert not others and decided.labels is not None
    before = decided.label_names[decided.labels[decided.ids.tolist().index(example)]]
    for decisions, wanted in ((True, label), (False, before)):
        file = tmp_path / f"{decisions}.csv"
        winnow("export", decided.folder.root, "--subset", "full", "--format", "csv", "--output", file, *flags(0, decisions))
        manifest = writer.verify(file)
        assert manifest["decisions"]["labels"] == ({str(example): label} if decisions else {})
        rows = file.read_text().splitlines()[1:]
        assert wanted in rows[manifest["ids"].index(example)]
        assert any("Labels changed by hand" in sentence for sentence in manifest["warnings"]) == decisions


def test_a_relabelled_example_is_kept_until_it_is_dropped(scored: Experiment) -> None:
    pruned = int(scored.ids[~scored.subset("winning-ticket").mask(scored.ids)][0])
    relabel(scored, pruned)
    assert pruned in scored.subset("winning-ticket").kept
    scored.decide(Decision(kind=DecisionKind.DROP, ids=(pruned,)))
    assert pruned not in scored.subset("winning-ticket").kept and pruned not in scored.subset("full").kept
    relabel(scored, pruned)
    assert pruned in scored.subset("winning-ticket").kept, "the latest act counts"


@pytest.mark.process
def test_what_is_printed_says_which_decisions_count(decided: Experiment) -> None:
    root, counted = decided.folder.root, "2 kept and 1 dropped by hand"
    assert counted in winnow("show", root) and counted not in winnow("show", root, "--without-decisions")
    assert counted in winnow("audit", root) and counted not in winnow("audit", root, "--without-decisions")
    shown = json.loads(winnow("show", root, "--json"))
    assert shown["decisions"] == {"kept": 2, "dropped": 1, "relabelled": 1}
    plain = json.loads(winnow("show", root, "--json", "--without-decisions"))
    assert plain["decisions"] == {"kept": 0, "dropped": 0, "relabelled": 0}
    assert [subset["name"] for subset in shown["subsets"]] == [subset["name"] for subset in plain["subsets"]] == decided.ladder()
    assert shown["subsets"][0]["kept"] == plain["subsets"][0]["kept"] + 1
    assert decided.summary() == shown


@pytest.mark.parametrize(
    "words",
    [("export", "--subset", "full+decisions"), ("audit", "--subset", "full+decisions"), ("save", "full+decisions", "kept")],
)
def test_the_suffix_and_its_opposite_are_refused_in_one_sentence(scored: Experiment, words: tuple[str, ...]) -> None:
    done = CliRunner().invoke(app, [words[0], str(scored.folder.root), *words[1:], "--without-decisions"])
    assert done.exit_code == 2 and done.stderr.count("\n") == 1
    assert done.stderr.startswith("Error: 'full+decisions' asks for the decisions made by hand, which --without-decisions leaves out")


def test_duplicates_are_not_resolved_by_hand_without_decisions(scored: Experiment) -> None:
    with pytest.raises(UsageError, match="--duplicates makes decisions, which --without-decisions leaves out"):
        scored.reading(decisions=False).resolve_duplicates("full", "keep-one")
    assert not scored.decisions()


@pytest.mark.process
def test_labels_changed_by_hand_are_trained_on(scored: Experiment) -> None:
    """Every label changed to one of the others: a model of these is worse than one of the source's."""
    assert scored.labels is not None
    names = scored.label_names
    for label in range(len(names)):
        swapped = names[(label + 1) % len(names)]
        scored.decide(Decision(kind=DecisionKind.RELABEL, ids=tuple(scored.ids[scored.labels == label].tolist()), value=swapped))
    measured = worker.frontier(scored.folder.root, ["full+decisions"], [], seeds=1)
    accuracy = {point.subset: (point.metrics["accuracy"], point.kept) for point in measured.frontier()}
    assert accuracy["full"][0] > 0.7 and accuracy["full+decisions"][0] < 0.3 and accuracy["full"][1] == accuracy["full+decisions"][1]


@pytest.mark.process
def test_the_frontier_measures_the_rule_unless_the_suffix_asks(decided: Experiment) -> None:
    """Each point says which by its name, whichever way the experiment is read."""
    measured = worker.frontier(decided.folder.root, ["mine", "mine+decisions"], [], seeds=1)
    sizes = {point.subset: point.kept for point in measured.frontier()}
    rule, by_hand = decided.reading(decisions=False).subset("mine"), decided.subset("mine")
    assert sizes == {"full": EXAMPLES, "mine": rule.size, "mine+decisions": by_hand.size}
    assert measured.finished().groupby("subset")["rows_sha256"].first().to_dict() == {
        "full": rows_sha256(decided.ids),
        "mine": rows_sha256(rule.kept),
        "mine+decisions": rows_sha256(by_hand.kept, by_hand.labels),
    }
    assert rule.kept.tolist() != by_hand.kept.tolist()
    assert {point.subset for point in measured.reading(decisions=False).frontier()} == set(sizes)
    decided.decide(Decision(kind=DecisionKind.DROP, ids=(int(decided.subset("mine").kept[-1]),)))
    assert {point.subset for point in measured.frontier()} == {"full", "mine"}, "the rule's point is as true as before"


def test_an_export_made_without_decisions_says_how_to_repeat_it(decided: Experiment, tmp_path: Path) -> None:
    without = decided.reading(decisions=False)
    manifest = without.export("winning-ticket", tmp_path / "plain.jsonl")
    assert manifest["command"].endswith(" --without-decisions") and "--force" not in manifest["command"]
    assert manifest["subset"]["name"] == "winning-ticket"
    assert "--without-decisions" not in decided.export("winning-ticket", tmp_path / "decided.jsonl")["command"]


def test_readings_share_what_does_not_depend_on_them(scored: Experiment) -> None:
    other = scored.reading(0, decisions=False)
    assert other.dynamics is scored.dynamics and other.ids is scored.ids
    assert (other.burn_in, other.with_decisions) == (0, False) and (scored.burn_in, scored.with_decisions) == (
        scored.settings.burn_in,
        True,
    )
    assert not np.array_equal(other.h_score(), scored.reading(1).h_score())
