"""Condensed sets on the Hugging Face hub: data sets there that hold the files of one."""

from __future__ import annotations

import errno
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from m3d_condense.recipes.given import checked
from m3d_condense.sets.condensed import CondensedSet
from m3d_condense.sets.folder import CARD, IMAGES, META, OURS, PREVIEW, SOFT_LABELS, files_of
from m3d_condense.sets.tables import STORED, TABLES, is_table_of
from m3d_condense.tools.errors import UserError
from m3d_condense.tools.leftovers import CHECKPOINT
from m3d_condense.tools.progress import is_quiet

if TYPE_CHECKING:
    from huggingface_hub import HfApi

LIBRARY = "m3d-condense"
KIND = "dataset"  # what the hub calls a repository of this kind
ID = re.compile(r"[\w][\w.-]*/[\w][\w.-]*", re.ASCII)
NO_FILES = {".gitattributes"}  # made by the hub itself


def fetch(hub_id: str) -> Path | None:
    """Return the folder, in the cache of `huggingface_hub`, of the set that the hub holds; None where it holds none.

    Only the files that are the set are fetched: two, or three with soft labels. Without a network, what was fetched
    before is returned.

    Raises:
        UserError: the hub cannot be asked, or does not give it.
    """
    from huggingface_hub import snapshot_download

    with _told(f"{hub_id}: is no local path, and the hub did not give it"):
        files = [META, IMAGES, SOFT_LABELS]
        folder = Path(snapshot_download(hub_id, repo_type=KIND, allow_patterns=files, library_name=LIBRARY))
    return folder if (folder / META).is_file() else None


def to_push(folder: Path) -> dict[str, int]:
    """Return the files of a finished set that `push` sends, and the bytes of each.

    Raises:
        UserError: the folder is no set, is damaged, lacks a file, holds others, or one that is not of the set; or its
            run has not ended.
    """
    condensed = CondensedSet.load(folder)
    files = files_of(folder)
    damaged = _damaged(condensed, folder)
    if damaged:
        advice = "CondensedSet.load(…).save(…) writes the whole folder anew"
        raise UserError(f"{folder / damaged[0]} is damaged, or of another set; {advice}")
    checkpoint = folder.resolve().with_name(folder.resolve().name + CHECKPOINT)
    if checkpoint.exists():
        advice = "run the command that made the set again, to the end; or remove the checkpoint, to keep it as it is"
        raise UserError(f"{folder} is not finished: {checkpoint} says where its run goes on; {advice}")
    return {name: (folder / name).stat().st_size for name in files}


def _damaged(condensed: CondensedSet, folder: Path) -> list[str]:
    """Name the files for readers that are not those of the set."""
    tables = [file for name, file in TABLES.items() if not is_table_of(condensed, folder / file, stored=name == STORED)]
    begun = {CARD: b"---\n", PREVIEW: b"\x89PNG"}
    return tables + [name for name, start in begun.items() if not (folder / name).read_bytes().startswith(start)]


@checked
def push(folder: Path, hub_id: str, *, private: bool = False) -> str:
    """Send a finished set to the hub, in one commit, and return its address there.

    Files of an older set in the repository are replaced; a repository that holds anything else is left alone. The token
    is the one that `huggingface_hub` finds: HF_TOKEN, or that of ``hf auth login``.

    Args:
        folder: of the set.
        hub_id: owner/name, of a repository that is made where there is none.
        private: whether a new repository is private; otherwise it is as its owner has set it.

    Raises:
        UserError: see `to_push`; the id is none; the hub cannot be reached or refuses.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    check_id(hub_id)
    files = to_push(folder)
    api = HfApi(library_name=LIBRARY)
    with _told(f"{hub_id}: not pushed"):
        there = _files_there(api, hub_id)
        if there is None:
            there = set()
            api.create_repo(hub_id, repo_type=KIND, private=private or None, exist_ok=True)
        elif META not in there and there - NO_FILES:
            raise UserError(f"{hub_id} holds other files ({', '.join(sorted(there)[:3])}), and no condensed set")
        stale = sorted((there & OURS) - files.keys())
        changes = [CommitOperationAdd(name, folder / name) for name in files]
        drops = [CommitOperationDelete(name) for name in stale]
        done = api.create_commit(hub_id, [*changes, *drops], commit_message="Push a condensed set", repo_type=KIND)
        return str(done.repo_url)


def check_id(hub_id: str) -> None:
    """Raise `UserError` for what is no id of a repository."""
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(hub_id)
        known = ID.fullmatch(hub_id) is not None
    except ValueError:
        known = False
    if not known:
        raise UserError(f"{hub_id} is no id of the hub, which is OWNER/NAME of letters, digits, '-', '_' and '.'")


def _files_there(api: HfApi, hub_id: str) -> set[str] | None:
    """Return the files of a repository, None where there is none."""
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        siblings = api.dataset_info(hub_id).siblings or []
        return {file.rfilename for file in siblings}
    except RepositoryNotFoundError:
        return None


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Turn what goes wrong at the hub into one line, which begins with `what`; show bars on a terminal alone."""
    import huggingface_hub

    utils: Any = huggingface_hub.utils
    hidden = (is_quiet() or not sys.stderr.isatty()) and not utils.are_progress_bars_disabled()
    verbosity = utils.logging.get_verbosity()
    utils.logging.set_verbosity_error()
    if hidden:
        utils.disable_progress_bars()
    try:
        yield
    except UserError:
        raise
    except _errors() as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise
        raise UserError(f"{what}: {_reason(error)}") from error
    finally:
        utils.logging.set_verbosity(verbosity)
        if hidden:
            utils.enable_progress_bars()


def _errors() -> tuple[type[Exception], ...]:
    """Return what `huggingface_hub` raises."""
    return OSError, ValueError, *_http_errors()


def _http_errors() -> tuple[type[Exception], ...]:
    """Return the errors of the library that `huggingface_hub` speaks HTTP with, by its version."""
    names = {"httpx2": "HTTPError", "httpx": "HTTPError", "requests": "RequestException"}
    return tuple(getattr(sys.modules[library], name) for library, name in names.items() if library in sys.modules)


def _reason(error: Exception) -> str:
    """Say why the hub did not do it, and what to do."""
    from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError

    status = getattr(getattr(error, "response", None), "status_code", None)
    login = "log in with `hf auth login`, or set HF_TOKEN"
    if isinstance(error, GatedRepoError) or status == 403:
        return f"you may not ({status}); ask its owner, or {login} as who may"
    if isinstance(error, RepositoryNotFoundError):
        return f"there is no such data set, or it is private; check the name, or {login}"
    if status == 401:
        return f"it asks who you are ({status}); {login}"
    if status is None and isinstance(error, (LocalEntryNotFoundError, ConnectionError, *_http_errors())):
        return "the hub cannot be reached; check the network, and HF_HUB_OFFLINE and HF_ENDPOINT if they are set"
    return (str(error) or type(error).__name__).strip().splitlines()[0]
