"""The verb that opens the dashboard."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pruning.cli.base import app, one_sentence


@app.command(name="app")
@one_sentence
def dashboard(
    data: Annotated[str | None, typer.Argument(metavar="[DATA]", help="Data to open in the form of a new experiment.")] = None,
    experiments: Annotated[Path, typer.Option(help="Folder that holds the experiments.")] = Path("experiments"),
    port: Annotated[int, typer.Option(help="Port on this machine.")] = 8501,
    address: Annotated[str, typer.Option(help="Address to listen on; beyond this machine only with WINNOW_PASSWORD set.")] = "127.0.0.1",
    host: Annotated[list[str] | None, typer.Option("--host", help="Additional name under which browsers reach it.")] = None,
) -> None:
    """Open the dashboard, for this machine only unless --address says otherwise."""
    from pruning.ui.server.launch import main as launch

    launch(experiments, port, address, host or (), data)
