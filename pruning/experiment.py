"""One experiment: its folder, its results, exports and reports."""

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
    """One experiment, read with a burn-in and a success rule (None: its own), with or without the decisions made by hand.

    Raises ExperimentError if the folder is not an experiment or has a newer format, or if a file that is needed is missing.
    """

    def summary(self, budget: str = "epochs", margin: float = MARGIN) -> dict[str, Any]:
        """Return plain values for JSON, as `show --json` prints them; see `pruning.reports.summary.summary`."""
        return summary(self, budget, margin)

    def audit(self, name: str) -> Findings:
        """Audit the subset of that name; see `pruning.reports.audit_report.findings`."""
        return findings(self, self.subset(name))

    def resolve_duplicates(self, name: str, how: str) -> Decision:
        """Resolve the duplicates in the subset of that name; `how` is a key of `reports.audit_report.SETTLEMENTS`.

        The decision returned has no ids if nothing was left to resolve. Raises UsageError for any other `how`, and if this
        reading leaves decisions out.
        """
        if not self.with_decisions:
            raise UsageError("--duplicates makes decisions, which --without-decisions leaves out; use only one of the two.")
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

        `output` None writes to the experiment's exports folder.
        """
        subset = self.subset(name)
        chosen = of_output(None if output is None else Path(output), format)
        return build(self, subset, default_output(self, subset, chosen) if output is None else output, chosen, force, escape_formulas)


def verified(path: Path) -> str:
    """Check every file of an experiment against its checksum, or an export against its manifest; return the result as a sentence.

    Raises ExperimentError or ExportError naming the differences.
    """
    if (path / "experiment.json").exists():
        return f"{path} is complete: {Experiment(path).verify()} files match their checksums."
    manifest = verify(path)
    written = manifest["output"]
    cells = ", formulas escaped" if manifest.get("cells", {}).get("formulas_escaped") else ""
    what = f"{manifest['subset']['name']}, {written['rows']} rows{cells}, sha256 {written['sha256'][:12]}"
    return f"{path} matches its manifest: {what}."


def full_subset(ids: NDArray[np.int64]) -> Subset:
    """Return full data as a subset with nothing removed."""
    return Subset(name="full", method="full", rule="keep everything", kept=ids, total=len(ids), removes=())


def list_experiments(root: str | Path) -> list[Path]:
    """Return the folders directly below `root` that contain an experiment, latest first."""
    found = [path.parent for path in Path(root).glob("*/experiment.json")]
    return sorted(found, key=_written, reverse=True)


def _written(folder: Path) -> float:
    try:
        return folder.joinpath("experiment.json").stat().st_mtime
    except OSError:  # deleted in the meantime, or owned by another user
        return 0.0
