"""One experiment: its folder, everything that follows from it, and what is written and said of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pruning.analysis.recommendation import MARGIN
from pruning.errors import UsageError
from pruning.export.formats import of_output
from pruning.export.writer import build, default_output, verify
from pruning.reading import Reading
from pruning.records import Subset
from pruning.reports.audit_report import Findings, findings, settlement
from pruning.reports.summary import summary
from pruning.subsets.decisions import Decision


class Experiment(Reading):
    """One experiment, read with a burn-in (None: its own), with or without the decisions made by hand.

    Raises ExperimentError when the folder is no experiment, is of a newer format, or lacks what is asked for.
    """

    def summary(self, budget: str = "epochs", margin: float = MARGIN) -> dict[str, Any]:
        """Plain values for JSON, as `show --json` prints them; see `pruning.reports.summary.summary`."""
        return summary(self, budget, margin)

    def audit(self, name: str) -> Findings:
        """Audit the subset of that name; see `pruning.reports.audit_report.findings`."""
        return findings(self, self.subset(name))

    def resolve_duplicates(self, name: str, how: str) -> Decision:
        """Decide about the duplicates in the subset of that name in one of the ways of `reports.audit_report.SETTLEMENTS`.

        The decision returned has no ids where nothing was left to decide. Raises UsageError for another way, and where this reading
        leaves decisions out.
        """
        if not self.with_decisions:
            raise UsageError("--duplicates decides by hand, which --without-decisions leaves out; use one of the two.")
        decision = settlement(self, self.subset(name), how)
        if decision.ids:
            self.decide(decision)
        return decision

    def export(
        self,
        name: str,
        output: str | Path | None = None,
        format: str | None = None,
        force: bool = False,
        escape_formulas: bool = False,
    ) -> dict[str, Any]:
        """Write the subset of that name and its manifest, and return the manifest; see `pruning.export.writer.build`.

        `output` None is a folder of the experiment's exports.
        """
        subset = self.subset(name)
        chosen = of_output(None if output is None else Path(output), format)
        return build(self, subset, default_output(self, subset, chosen) if output is None else output, chosen, force, escape_formulas)


def verified(path: Path) -> str:
    """Check every file of an experiment's folder against its checksum, or an export against its manifest; the result in a sentence.

    Raises ExperimentError or ExportError saying what differs.
    """
    if (path / "experiment.json").exists():
        return f"{path} is whole: {Experiment(path).verify()} files are what was recorded."
    manifest = verify(path)
    written = manifest["output"]
    cells = ", formulas escaped" if manifest.get("cells", {}).get("formulas_escaped") else ""
    what = f"{manifest['subset']['name']}, {written['rows']} rows{cells}, sha256 {written['sha256'][:12]}"
    return f"{path} is what its manifest says: {what}."


def full_subset(ids: NDArray[np.int64]) -> Subset:
    """Full data as a subset: nothing removed."""
    return Subset(name="full", method="full", rule="keep everything", kept=ids, total=len(ids), removes=())


def list_experiments(root: str | Path) -> list[Path]:
    """Folders directly below `root` that hold an experiment, latest first."""
    found = [path.parent for path in Path(root).glob("*/experiment.json")]
    return sorted(found, key=_written, reverse=True)


def _written(folder: Path) -> float:
    try:
        return folder.joinpath("experiment.json").stat().st_mtime
    except OSError:  # deleted meanwhile, or another user's
        return 0.0
