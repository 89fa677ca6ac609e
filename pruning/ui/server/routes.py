"""Routes that are not pages: downloads of exports, streamed from the disk, /overview, and the script of the help key."""

from __future__ import annotations

import os
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from pruning.data import access
from pruning.errors import DataError
from pruning.ui import state
from pruning.ui.server import help_key, signed_links


def download(request: Request) -> Response:
    """Serve a file of an experiment's exports/, and nothing else, for a link from a page of this server."""
    if not signed_links.valid(request.path_params["path"], request.query_params.get("ticket", "")):
        return PlainTextResponse("This link has expired; open the Export page again.", status_code=403)
    root = state.root().resolve()
    parts = Path(request.path_params["path"]).parts
    shaped = len(parts) == 4 and parts[1] == "exports" and not any(part == ".." or "\0" in part for part in parts)
    try:
        if not shaped:
            raise DataError("The path is not an export.")
        handle = access.open_inside(root.joinpath(*parts), [str(root / parts[0] / "exports")])
    except (DataError, OSError):
        return PlainTextResponse("This export does not exist.", status_code=404)
    return _Opened(handle, f"{parts[0]}.{parts[2]}.{parts[3].removeprefix('data.')}")


class _Opened(FileResponse):
    """Response from an open file, so that the file checked is the file sent."""

    def __init__(self, handle: int, filename: str) -> None:
        self.handle = handle
        super().__init__(f"/dev/fd/{handle}", filename=filename, media_type="application/octet-stream", stat_result=os.fstat(handle))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            os.close(self.handle)


def overview(request: Request) -> Response:
    """Redirect /overview to the root, where the Overview is, with the same state."""
    return RedirectResponse(f"./?{request.url.query}" if request.url.query else "./")


ROUTES = [Route("/download/{path:path}", download), Route("/overview", overview), help_key.ROUTE]
