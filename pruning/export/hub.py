"""Push a verified export to the hub: a dataset repository with the data and its manifest, in one commit."""

from __future__ import annotations

from pathlib import Path

from pruning.errors import ExportError, UsageError
from pruning.export.writer import files_of, manifest_path, verify


def push(output: str | Path, repository: str, *, private: bool = True, endpoint: str | None = None, token: str | None = None) -> str:
    """Upload an export (a file or a folder) and its manifest, and return the URL of the commit. A missing repository is created.

    `token` None uses the login of this machine (`hf auth login`, or HF_TOKEN). Raises ExportError when the export differs from its
    manifest, or the hub refuses or cannot be reached; UsageError for an invalid name.
    """
    from httpx2 import HTTPError
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError

    output = Path(output)
    manifest = verify(output)
    operations = [CommitOperationAdd(path.relative_to(output.parent).as_posix(), path) for path in files_of(output)]
    operations.append(CommitOperationAdd("manifest.json", manifest_path(output)))
    message = f"{manifest['subset']['name']}: {manifest['output']['rows']:,} of {manifest['subset']['total']:,} examples"
    api = HfApi(endpoint=endpoint, token=token)
    try:
        api.create_repo(repository, repo_type="dataset", private=private, exist_ok=True)
        return str(api.create_commit(repository, operations, commit_message=message, repo_type="dataset").commit_url)
    except HFValidationError as error:
        raise UsageError(f"{repository!r} is not a repository name; use one like name/dataset ({error}).") from None
    except LocalTokenNotFoundError:
        raise ExportError("This machine is not logged in to the hub; run `hf auth login`, or set HF_TOKEN.") from None
    except HfHubHTTPError as error:
        said = error.server_message or str(error).splitlines()[0]
        raise ExportError(f"The hub refused {repository}: {said}") from None
    except (OSError, HTTPError) as error:
        raise ExportError(f"The hub cannot be reached: {error}.") from None
