"""Every file of an experiment, damaged in every way: noticed by verify, in words everywhere, and no other experiment is affected.

`WINNOW_FUZZ=1000 python -m pytest tests/store/test_damage.py -k counts -s` prints the table of benchmarks/results/fuzz.md.
"""

import json
import os
import random
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest
from typer.testing import CliRunner

from pruning.cli import app
from pruning.errors import ExperimentError
from pruning.experiment import Experiment
from pruning.records import DecisionKind
from pruning.store import lines, saved_filters
from pruning.subsets.decisions import Decision
from tests.support.processes import ROOT

ROUNDS = int(os.environ.get("WINNOW_FUZZ", "40"))

LINES = ("decisions.jsonl", "events.jsonl", "checksums.jsonl", "views.jsonl")


@pytest.fixture
def full(scored: Experiment) -> Experiment:
    """An experiment with every kind of file."""
    for example in (1, 2, 3):
        scored.decide(Decision(kind=DecisionKind.DROP, ids=(example,)))
    for name in ("a", "b", "c"):
        saved_filters.save(scored.folder, name, {"h": [0, 1]})
    scored.save("mine", scored.subset("remove-0"))
    assert scored.verify() and not scored.complaints()
    return scored


def protected(experiment: Experiment) -> list[Path]:
    return [experiment.folder.manifest, *experiment.files(), *experiment.folder.append_only]


def flipped(path: Path, chance: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


def torn(path: Path, chance: random.Random) -> None:
    """A line cut in the middle of a file of lines; another file cut anywhere."""
    content = path.read_bytes()
    if path.name not in LINES:
        path.write_bytes(content[: chance.randrange(len(content))])
        return
    all_lines = content.splitlines(keepends=True)
    place = chance.randrange(len(all_lines) - 1)
    all_lines[place] = all_lines[place][: chance.randrange(1, len(all_lines[place]) - 1)] + b"\n"
    path.write_bytes(b"".join(all_lines))


def missing(path: Path, chance: random.Random) -> None:
    path.unlink()


def foreign(path: Path, chance: random.Random) -> None:
    """What another program, or another experiment, left there."""
    if path.name in LINES:
        all_lines = path.read_bytes().splitlines(keepends=True)
        all_lines.insert(
            chance.randrange(1, len(all_lines) + 1), chance.choice([b"[]\n", b"{}\n", b'{"event": "x", "time": 1}\n', b"null\n"])
        )
        path.write_bytes(b"".join(all_lines))
    else:
        path.write_bytes(chance.choice([b"[]\n", b"{}", b"PAR1", path.read_bytes() + b"\n"]))


DAMAGES: dict[str, Callable[[Path, random.Random], None]] = {
    "one flipped bit": flipped,
    "one torn line": torn,
    "missing": missing,
    "foreign": foreign,
}


def noticed(folder: Path) -> bool:
    try:
        Experiment(folder).verify()
    except ExperimentError as error:
        assert str(error).endswith(".") and "\n" not in str(error)
        return True
    return False


@pytest.mark.process
@pytest.mark.parametrize("damage", DAMAGES)
def test_every_damage_is_noticed_by_verify_counts(full: Experiment, damage: str) -> None:
    """Of every file, the first of each run of the recording only: the others are of its kind."""
    chance, counts = random.Random(damage), Counter[str]()
    for path in protected(full):
        content = path.read_bytes()
        rounds = ROUNDS if damage in ("one flipped bit", "one torn line") else 1
        for _ in range(max(1, rounds // (1 if path.name in LINES or path.name == "experiment.json" else 20))):
            DAMAGES[damage](path, chance)
            assert noticed(full.folder.root), (damage, path, path.read_bytes()[-300:] if path.exists() else "")
            path.write_bytes(content)
            counts[path.name if path.suffix != ".parquet" else "*.parquet"] += 1
    assert not noticed(full.folder.root)
    print(f"\n| {damage} |", ", ".join(f"{name} {count:,} of {count:,}" for name, count in sorted(counts.items())), "|")


def test_a_last_line_that_a_crash_cut_short_is_not_damage(full: Experiment) -> None:
    path = full.folder.decisions
    with path.open("ab") as file:
        file.write(b'{"key": "abc", "ti')
    assert not noticed(full.folder.root) and len(full.decisions()) == 3
    full.decide(Decision(kind=DecisionKind.DROP, ids=(4,)))
    assert not noticed(full.folder.root) and len(full.decisions()) == 4


def test_nothing_is_decided_or_saved_in_a_folder_that_was_moved_away(full: Experiment) -> None:
    old = full.folder.root
    old.rename(old.with_name("moved"))
    for act in (lambda: full.decide(Decision(kind=DecisionKind.DROP, ids=(4,))), lambda: saved_filters.save(full.folder, "mine", {})):
        with pytest.raises(ExperimentError, match="was renamed or deleted; nothing was written"):
            act()
    assert not old.exists()


def test_a_lost_line_and_a_file_of_another_experiment_are_noticed(full: Experiment) -> None:
    path = full.folder.decisions
    content = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(content[0] + content[2])
    assert "has other lines before line 2" in full.complaints()[0]
    first = lines.seal({**Decision(kind=DecisionKind.DROP, ids=(9,)).to_dict(), "line": 1})[0]
    path.write_text(f"{first}\n")
    assert "is not the file that was written here" in full.complaints()[0]


def test_lines_of_older_folders_are_read(full: Experiment) -> None:
    """They have neither number nor checksum; a line added later has both."""
    path = full.folder.decisions
    old = [json.dumps(Decision(kind=DecisionKind.DROP, ids=(example,)).to_dict()) for example in (7, 8)]
    full.folder.checksums.write_text("")
    path.write_text("\n".join(old) + "\n")
    assert [one.ids for one in full.decisions()] == [(7,), (8,)]
    full.decide(Decision(kind=DecisionKind.DROP, ids=(9,)))
    assert [one.ids for one in full.decisions()] == [(7,), (8,), (9,)] and not lines.problems(full.folder, path)


def test_resume_s_repair_goes_on_without_what_is_lost(full: Experiment) -> None:
    path, chance = full.folder.decisions, random.Random(0)
    kept = full.decisions()
    torn(path, chance)
    full.repair()
    assert not noticed(full.folder.root) and len(full.decisions()) == 2 and set(full.decisions()) < set(kept)
    assert (full.folder.root / "decisions.damaged.jsonl").exists()
    path.unlink()
    full.repair()
    assert not noticed(full.folder.root) and full.decisions() == []


@pytest.mark.process
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["experiment.json", *LINES, "examples.parquet", "evaluation.parquet", "frontier.parquet"])
def test_every_verb_speaks_in_sentences(full: Experiment, name: str, damage: str) -> None:
    chance = random.Random(f"{name} {damage}")
    DAMAGES[damage](full.folder.root / name, chance)
    directory = str(full.folder.root)
    for words in (["show", directory], ["status", directory], ["audit", directory], ["export", directory], ["verify", directory]):
        result = CliRunner().invoke(app, words)
        assert result.exception is None or isinstance(result.exception, SystemExit), (words, result.exception)
        assert "Traceback" not in result.output


@pytest.mark.slow
@pytest.mark.parametrize("page", ["home", "score", "difficulty", "frontier", "inspect", "export"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_every_page_speaks_in_words_and_lists_the_other_experiment(
    full: Experiment, monkeypatch: pytest.MonkeyPatch, page: str, damage: str
) -> None:
    root = full.folder.root.parent
    shutil.copytree(full.folder.root, root / "other")
    monkeypatch.setenv("WINNOW_EXPERIMENTS", str(root))
    chance = random.Random(f"{page} {damage}")
    for path in protected(full):
        content = path.read_bytes()
        DAMAGES[damage](path, chance)
        browser = AppTest.from_file(str(ROOT / "pruning" / "ui" / "main.py"), default_timeout=120)
        browser.query_params["experiment"] = "reviews"
        browser.run()
        if page != "home":
            browser.switch_page(str(ROOT / "pages" / f"{page}.py")).run()
        assert not browser.exception, (path, browser.exception)
        assert not noticed(root / "other")
        path.write_bytes(content)
