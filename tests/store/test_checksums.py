from collections.abc import Callable
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from pruning.errors import ExperimentError
from pruning.experiment import Experiment
from pruning.export import writer
from pruning.jobs import worker
from pruning.store.checksums import checksums, fault
from tests.conftest import EPOCHS, LOOK_FILES, SEEDS
from tests.support.recordings import flip


@pytest.mark.process
def test_every_data_file_has_its_checksum(scored: Experiment) -> None:
    known = checksums(scored.folder)
    assert {path.relative_to(scored.folder.root).as_posix() for path in (scored.folder.manifest, *scored.files())} == set(known)
    scored.folder.frontier.write_bytes(scored.folder.frontier.read_bytes()[:-1])
    with pytest.raises(ExperimentError, match=r"frontier\.parquet is damaged"):
        scored.verify()


def test_checksums_name_each_seed_s_files(scored: Experiment) -> None:
    assert sum(name.startswith("dynamics/") for name in checksums(scored.folder)) == len(SEEDS) * scored.settings.train.epochs


@pytest.mark.process
def test_a_changed_byte_is_found_when_opened_and_by_verify_and_mended_by_resume(scored: Experiment) -> None:
    """A recording that still reads well, with other numbers in it: only its checksum tells."""
    path = scored.folder.epoch(1, 2)
    whole, h = path.read_bytes(), scored.h_score()
    table = pq.read_table(path)
    swapped = table.set_column(table.schema.get_field_index("correct"), "correct", pc.invert(table["correct"]))
    pq.write_table(swapped, path)
    again = Experiment(scored.folder.root)
    with pytest.raises(ExperimentError, match=r"epoch=2\.parquet is damaged \(its sha256"):
        _ = again.dynamics
    with pytest.raises(ExperimentError, match=r"epoch=2\.parquet is damaged"):
        again.verify()
    mended = worker.resume(scored.folder.root)
    assert path.read_bytes() == whole and (mended.h_score() == h).all()
    assert mended.verify() == 3 + LOOK_FILES + len(SEEDS) * EPOCHS + 1


def test_missing_epochs_and_frontiers_are_reported(scored: Experiment) -> None:
    for path in (scored.folder.epoch(1, 1), scored.folder.frontier):
        whole = path.read_bytes()
        path.unlink()
        with pytest.raises(ExperimentError, match=f"{path.name} is missing; resume the experiment to"):
            Experiment(scored.folder.root).verify()
        path.write_bytes(whole)


def test_every_reader_refuses_a_damaged_file(scored: Experiment, tmp_path: Path) -> None:
    """Each reader says so itself, also in a process that read the file before."""
    folder = scored.folder
    readings: dict[Path, Callable[[Experiment], object]] = {
        folder.examples: lambda again: again.ids,
        folder.evaluation: lambda again: again.evaluation(["id"]),
        folder.frontier: lambda again: again.frontier(),
    }
    for path, read in readings.items():
        content = path.read_bytes()
        read(Experiment(folder.root))
        flip(path)
        with pytest.raises(ExperimentError, match=f"{path.name} is damaged.*; resume the experiment to"):
            read(Experiment(folder.root))
        path.write_bytes(content)
        read(Experiment(folder.root))
    subset, output = scored.subset("remove-0"), tmp_path / "kept.jsonl"
    damages: tuple[tuple[Callable[[Path], None], str], ...] = ((flip, "damaged"), (Path.unlink, "missing"))
    for damage, says in damages:
        damage(folder.source)
        with pytest.raises(ExperimentError, match=rf"source\.jsonl is {says}"):
            writer.build(scored, subset, output)
        assert not output.exists()


def test_a_file_written_while_another_process_checks_it_is_not_called_damaged(scored: Experiment) -> None:
    known = checksums(scored.folder)
    scored.add_finished({**scored.finished().iloc[0].to_dict(), "seed": 7})
    assert fault(scored.folder, scored.folder.frontier, known) is None
