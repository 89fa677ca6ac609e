"""Exports as streams: files go from the disk to the browser, never through the server's memory."""

from __future__ import annotations

from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route

from pruning.ui import state
from pruning.ui.server import signed_links


def download(request: Request) -> Response:
    """A file of an experiment's exports/, and nothing else, for whoever got the link from a page of this server."""
    if not signed_links.valid(request.path_params["path"], request.query_params.get("ticket", "")):
        return PlainTextResponse("This link has ended; open the Export page again.", status_code=403)
    root = state.root().resolve()
    parts = Path(request.path_params["path"]).parts
    shaped = len(parts) == 4 and parts[1] == "exports" and not any(part == ".." or "\0" in part for part in parts)
    path = root.joinpath(*parts).resolve() if shaped else root
    inside = path.is_relative_to(root) and path.is_file()
    if not inside:
        return PlainTextResponse("There is no such export.", status_code=404)
    return FileResponse(path, filename=f"{parts[0]}.{parts[2]}.{path.name.removeprefix('data.')}", media_type="application/octet-stream")


ROUTES = [Route("/download/{path:path}", download)]
