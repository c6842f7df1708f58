"""A condensed set on disk: the folder that holds it is written, read and checked here.

`images.safetensors` and `condensed.json` are the set; the tables, the card and the preview are made of it for readers.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_type_hints

import msgspec
import torch
from safetensors.torch import save
from torch import Tensor

from m3d_condense.sets.card import card
from m3d_condense.sets.condensed import CondensedSet, Score, tensor_problem
from m3d_condense.sets.preview import preview
from m3d_condense.sets.tables import STORED, TABLES, write_table
from m3d_condense.tools import files
from m3d_condense.tools.errors import UserError
from m3d_condense.tools.leftovers import held, restore_folder, written_name

FORMAT_VERSION = 1
IMAGES, META, CARD, PREVIEW = "images.safetensors", "condensed.json", "README.md", "preview.png"
METRICS, REPORT = "metrics.jsonl", "report.html"
OPTIONAL = {METRICS, REPORT}
OURS = {IMAGES, META, CARD, PREVIEW, *TABLES.values(), *OPTIONAL}
OUR_FOLDERS = {str(Path(table).parent) for table in TABLES.values()}
AGAIN = "fetch or make the set again"
STORED_TYPES: dict[str, Any] = {
    "shape": list[int],
    **{name: hint for name, hint in get_type_hints(CondensedSet).items() if hint is not Tensor},
    "history": list[dict[str, float | None]],
}
"""What condensed.json holds beside the format version, in order, and the type of each."""


def write_set(condensed: CondensedSet, path: str | Path) -> Path:
    """Write the folder `path`, see `CondensedSet.save`."""
    with files.write_folder(Path(path), replaceable=_is_only_condensed) as folder:
        tensors = {"images": condensed.images, "labels": condensed.labels}
        (folder / IMAGES).write_bytes(save(tensors, metadata={"format_version": str(FORMAT_VERSION)}))
        (folder / META).write_bytes(_json(condensed))
        (folder / CARD).write_text(card(condensed), encoding="utf-8")
        preview(condensed).save(folder / PREVIEW)
        if condensed.history:
            (folder / METRICS).write_text(metrics(condensed.history))
        for name, table in TABLES.items():
            (folder / table).parent.mkdir()
            write_table(condensed, folder / table, stored=name == STORED)
    return Path(path)


def read_set(path: str | Path) -> CondensedSet:
    """Read the folder `path`, see `CondensedSet.load`."""
    folder = Path(path)
    meta = _read_meta(folder)
    images, labels = _read_images(folder / IMAGES, meta.pop("shape"))
    meta["history"] = [
        {key: math.nan if value is None else value for key, value in step.items()} for step in meta["history"]
    ]
    try:
        return CondensedSet(images=images, labels=labels, **meta)
    except UserError as error:
        raise UserError(f"{folder / META} is damaged: {error}; {AGAIN}") from None


def store_score(condensed: CondensedSet, score: Score, path: str | Path) -> None:
    """Append a score to a set and to the folder that holds it, see `CondensedSet.add_score`."""
    folder = Path(path)
    restore_folder(folder)
    with held(folder, wait=True):  # another process that stores a score there ends first
        stored = read_set(folder)
        if not (torch.equal(stored.images, condensed.images) and torch.equal(stored.labels, condensed.labels)):
            raise UserError(f"{folder} holds another set than the one scored; give the folder of that one")
        condensed.scores += [other for other in stored.scores if other not in condensed.scores]
        condensed.scores.append(score)
        files.write_file_atomic(folder / META, _json(condensed))
        _complete(condensed, folder)
        files.write_file_atomic(folder / CARD, card(condensed))


def metrics(history: Sequence[Mapping[str, float]]) -> str:
    """Return the logged steps of a run as JSON lines."""
    return "".join(f"{json.dumps(_finite(entry))}\n" for entry in history)


def check_target(path: str | Path) -> None:
    """Raise `UserError` if `write_set` would refuse `path`."""
    files.check_folder(Path(path), _is_only_condensed)


def files_of(folder: Path) -> list[str]:
    """Return the files of a complete set, in order, as paths below its folder.

    Raises:
        UserError: one is missing, or the folder holds anything else.
    """
    if not _is_only_condensed(folder):
        raise UserError(f"{folder} holds other files beside its condensed set; move them away")
    missing = [name for name in sorted(OURS - OPTIONAL) if not (folder / name).is_file()]
    if missing:
        raise UserError(f"{folder} lacks {', '.join(missing)}; CondensedSet.load(…).save(…) writes what is missing")
    return sorted(name for name in OURS if (folder / name).is_file())


def is_condensed_set(path: str | Path) -> bool:
    """Tell whether a condensed set, complete or damaged, is at `path`.

    One that a killed process had moved aside to write another in its place is put back first.
    """
    restore_folder(Path(path))
    return (Path(path) / META).is_file()


def _is_only_condensed(folder: Path) -> bool:
    return is_condensed_set(folder) and all(_is_ours(entry, folder) for entry in folder.rglob("*"))


def _is_ours(entry: Path, folder: Path) -> bool:
    written = written_name(entry)  # by a process that was killed
    place = (entry if written is None else entry.with_name(written)).relative_to(folder).as_posix()
    return place in (OUR_FOLDERS if entry.is_dir() else OURS)


def _complete(condensed: CondensedSet, folder: Path) -> None:
    """Write the tables that a set of an older version lacks: the card speaks of them."""
    for name, table in TABLES.items():
        if not (folder / table).exists():
            with files.write_file(folder / table) as new:
                write_table(condensed, new, stored=name == STORED)


def _json(condensed: CondensedSet) -> bytes:
    content = {"format_version": FORMAT_VERSION, "shape": list(condensed.images.shape)}
    content |= {name: getattr(condensed, name) for name in STORED_TYPES if name != "shape"}
    content["history"] = [_finite(entry) for entry in condensed.history]
    content["scores"] = [asdict(score) for score in condensed.scores]
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    return text.encode("utf-8", "backslashreplace")  # a half character, as in badly encoded file names: its escape


def _finite(entry: Mapping[str, float]) -> dict[str, float | None]:
    return {key: value if math.isfinite(value) else None for key, value in entry.items()}


def _read_meta(folder: Path) -> dict[str, Any]:
    """Read condensed.json and check its format version, keys and types."""
    file = folder / META
    if not is_condensed_set(folder):
        raise UserError(f"{folder} is not a condensed set: it has no {META}; give the folder that m3d wrote")
    content = files.read_json(file)
    found = content.get("format_version")
    if found != FORMAT_VERSION:
        newer = isinstance(found, int) and found > FORMAT_VERSION
        remedy = "update with pip install -U m3d-condense" if newer else AGAIN
        raise UserError(f"{file} has the format version {found!r}, not {FORMAT_VERSION}; {remedy}")
    return {name: _value(file, content, name) for name in STORED_TYPES}


def _value(file: Path, content: dict[str, Any], name: str) -> Any:
    """Return a value of condensed.json as the record has it; raise `UserError` where it is of another type."""
    if name not in content:
        raise UserError(f"{file} is damaged: it has no {name!r}; {AGAIN}")
    try:
        return msgspec.convert(content[name], STORED_TYPES[name])
    except msgspec.ValidationError as error:
        raise UserError(f"{file} is damaged: it has a wrong {name!r} ({error}); {AGAIN}") from None


def _read_images(file: Path, shape: list[int]) -> tuple[Tensor, Tensor]:
    """Read the images and labels, and check that they are of the set whose images have this shape."""
    tensors, metadata = files.read_tensors(file)
    if set(tensors) != {"images", "labels"} or metadata.get("format_version") != str(FORMAT_VERSION):
        raise UserError(f"{file} is not of a condensed set of format version {FORMAT_VERSION}; {AGAIN}")
    images, labels = tensors["images"], tensors["labels"]
    problem = tensor_problem(images, labels)
    if problem:
        raise UserError(f"{file} is damaged: {problem}; {AGAIN}")
    if list(images.shape) != shape:
        raise UserError(f"{file} and {META} are not of one set; {AGAIN}")
    return images, labels
