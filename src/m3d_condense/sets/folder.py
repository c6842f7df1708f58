"""A condensed set on disk: the folder that holds it is written, read and checked here.

`images.safetensors` and `condensed.json` are the set; the tables, the card and the preview are made of it for readers.
Soft labels, where a set has them, are a file of their own, and its condensed.json is of the next format version: a
reader that knows nothing of soft labels refuses the set in place of reading half of it. So are both files where pixels
of fewer bits than 8 are packed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, get_type_hints

import msgspec
import torch
from safetensors.torch import save
from torch import Tensor

from m3d_condense.recipes.recipe import FULL
from m3d_condense.sets.bits import bits_of, bytes_of, packed, unpacked
from m3d_condense.sets.card import card
from m3d_condense.sets.checks import tensor_problem
from m3d_condense.sets.condensed import CondensedSet, Score
from m3d_condense.sets.preview import preview
from m3d_condense.sets.score import with_newer
from m3d_condense.sets.soft import SOFT, SoftLabels
from m3d_condense.sets.tables import STORED, TABLES, write_table
from m3d_condense.tools import files
from m3d_condense.tools.errors import UserError
from m3d_condense.tools.leftovers import held, restore_folder, written_name
from m3d_condense.tools.places import CONDENSED

FORMAT_VERSION = 1
WITH_SOFT_LABELS = 2  # the format version of condensed.json beside which soft labels lie
PACKED = 3  # the format version of sets whose pixels have fewer bits than 8, with soft labels or without
IMAGES, META, CARD, PREVIEW = "images.safetensors", CONDENSED, "README.md", "preview.png"
METRICS, REPORT, SOFT_LABELS = "metrics.jsonl", "report.html", "soft-labels.safetensors"
OPTIONAL = {METRICS, REPORT, SOFT_LABELS}
OURS = {IMAGES, META, CARD, PREVIEW, *TABLES.values(), *OPTIONAL}
OUR_FOLDERS = {str(Path(table).parent) for table in TABLES.values()}
AGAIN = "fetch or make the set again"
UNTYPED = {"images", "labels", "soft_labels"}  # tensors, which have files of their own
STORED_TYPES: dict[str, Any] = {
    "shape": list[int],
    **{name: hint for name, hint in get_type_hints(CondensedSet).items() if name not in UNTYPED},
    "history": list[dict[str, float | None]],
}
"""What condensed.json holds beside the format version, in order, and the type of each."""


class _Soft(msgspec.Struct):
    """What condensed.json says of soft labels, last."""

    fingerprint: str
    origin: dict[str, Any]


def write_set(condensed: CondensedSet, path: str | Path) -> Path:
    """Write the folder `path`, see `CondensedSet.save`."""
    with files.write_folder(Path(path), replaceable=_is_only_condensed) as folder:
        (folder / IMAGES).write_bytes(_image_bytes(condensed))
        (folder / META).write_bytes(_json(condensed))
        if condensed.soft_labels is not None:
            (folder / SOFT_LABELS).write_bytes(_soft_bytes(condensed.soft_labels))
        (folder / CARD).write_text(card(condensed), encoding="utf-8")
        preview(condensed.images, condensed.labels, condensed.class_names).save(folder / PREVIEW)
        if condensed.history:
            (folder / METRICS).write_text(metrics(condensed.history))
        for name, table in TABLES.items():
            (folder / table).parent.mkdir()
            write_table(condensed, folder / table, stored=name == STORED)
    return Path(path)


def read_set(path: str | Path) -> CondensedSet:
    """Read the folder `path`, see `CondensedSet.load`."""
    folder = Path(path)
    meta, told = _read_meta(folder)
    soft = None if told is None else _read_soft(folder / SOFT_LABELS, told)
    fingerprint, shape = meta.pop("fingerprint"), meta.pop("shape")
    images, labels = _read_images(folder / IMAGES, shape, _bits(folder / META, meta["settings"]))
    meta["history"] = [
        {key: math.nan if value is None else value for key, value in step.items()} for step in meta["history"]
    ]
    try:
        found = CondensedSet(images=images, labels=labels, soft_labels=soft, **meta)
    except UserError as error:
        raise UserError(f"{folder / META} is damaged: {error}; {AGAIN}") from None
    if fingerprint is not None and not found.told_by(fingerprint):
        raise UserError(f"{folder / IMAGES} and {META} are not of one set, or one of them has been changed; {AGAIN}")
    return found


def read_settings(path: str | Path) -> dict[str, Any]:
    """Read the settings alone of the set in a folder; raises `UserError` as `read_set`."""
    settings: dict[str, Any] = _read_meta(Path(path))[0]["settings"]
    return settings


def store_score(condensed: CondensedSet, score: Score, path: str | Path) -> None:
    """Append a score to a set and to the folder that holds it, see `CondensedSet.add_score`."""
    folder = Path(path)
    restore_folder(folder)
    with held(folder, wait=True):  # another process that stores a score there ends first
        stored = _same(condensed, folder)
        if score.labels == SOFT and _fingerprint(stored) != score.settings.get("soft_labels"):
            raise UserError(f"{folder} has other soft labels than those scored; score it again")
        condensed.scores = with_newer(condensed.scores, [*stored.scores, score])
        known = replace(condensed, soft_labels=stored.soft_labels)
        files.write_file_atomic(folder / META, _json(known))
        _complete(known, folder)
        files.write_file_atomic(folder / CARD, card(known))


def store_soft_labels(condensed: CondensedSet, path: str | Path) -> None:
    """Store a set's soft labels in the folder that holds it, see `CondensedSet.add_soft_labels`.

    At every moment the folder holds the set as it was, without soft labels, or with the new ones.
    """
    assert condensed.soft_labels is not None
    folder = Path(path)
    restore_folder(folder)
    with held(folder, wait=True):
        stored = _same(condensed, folder)
        if stored.soft_labels is not None:  # condensed.json may not name labels that are being replaced
            files.write_file_atomic(folder / META, _json(replace(stored, soft_labels=None)))
        files.write_file_atomic(folder / SOFT_LABELS, _soft_bytes(condensed.soft_labels))
        stored.add_soft_labels(condensed.soft_labels)
        condensed.scores = with_newer(condensed.scores, stored.scores)
        _complete(condensed, folder)
        files.write_file_atomic(folder / CARD, card(condensed))
        files.write_file_atomic(folder / META, _json(condensed))  # last: who finds the labels there finds all in place


def _same(condensed: CondensedSet, folder: Path) -> CondensedSet:
    """Read the set in a folder, which must have the images and labels of this one."""
    stored = read_set(folder)
    if not (torch.equal(stored.images, condensed.images) and torch.equal(stored.labels, condensed.labels)):
        raise UserError(f"{folder} holds another set; give the folder of this one")
    return stored


def _fingerprint(condensed: CondensedSet) -> str | None:
    return None if condensed.soft_labels is None else condensed.soft_labels.fingerprint


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
    soft = condensed.soft_labels
    version = PACKED if condensed.bits < FULL else FORMAT_VERSION if soft is None else WITH_SOFT_LABELS
    content: dict[str, Any] = {"format_version": version, "fingerprint": condensed.fingerprint}
    content["shape"] = list(condensed.images.shape)
    content |= {name: getattr(condensed, name) for name in STORED_TYPES if name != "shape"}
    content["history"] = [_finite(entry) for entry in condensed.history]
    content["scores"] = [asdict(score) for score in condensed.scores]
    if soft is not None:
        content["soft_labels"] = {"fingerprint": soft.fingerprint, "origin": soft.origin}
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    return text.encode("utf-8", "backslashreplace")  # a half character, as in badly encoded file names: its escape


def _finite(entry: Mapping[str, float]) -> dict[str, float | None]:
    return {key: value if math.isfinite(value) else None for key, value in entry.items()}


def _image_bytes(condensed: CondensedSet) -> bytes:
    images, version = condensed.images, FORMAT_VERSION
    if condensed.bits < FULL:
        images, version = packed(images, condensed.bits), PACKED
    return save({"images": images, "labels": condensed.labels}, metadata={"format_version": str(version)})


def _soft_bytes(soft: SoftLabels) -> bytes:
    return save({"probabilities": soft.probabilities}, metadata={"format_version": str(WITH_SOFT_LABELS)})


def _read_meta(folder: Path) -> tuple[dict[str, Any], _Soft | None]:
    """Read condensed.json and check its format version, keys and types; return what it says of soft labels apart.

    The rest has the set's own fingerprint, None where that is not told.
    """
    file = folder / META
    if not is_condensed_set(folder):
        raise UserError(f"{folder} is not a condensed set: it has no {META}; give the folder that m3d wrote")
    content = files.read_json(file)
    found = content.get("format_version")
    if isinstance(found, bool) or found not in (FORMAT_VERSION, WITH_SOFT_LABELS, PACKED):
        newer = isinstance(found, int) and found > PACKED
        remedy = "update with pip install -U m3d-condense" if newer else AGAIN
        known = f"{FORMAT_VERSION}, with soft labels {WITH_SOFT_LABELS} or, with packed pixels, {PACKED}"
        raise UserError(f"{file} has the format version {found!r}, not {known}; {remedy}")
    labelled = found == WITH_SOFT_LABELS or (found == PACKED and "soft_labels" in content)
    soft = _value(file, content, "soft_labels", _Soft) if labelled else None
    told = {name: _value(file, content, name, kind) for name, kind in STORED_TYPES.items()}
    return told | {"fingerprint": content.get("fingerprint")}, soft  # which sets of before had not


def _value(file: Path, content: dict[str, Any], name: str, kind: Any) -> Any:
    """Return a value of condensed.json as the record has it; raise `UserError` where it is of another type."""
    if name not in content:
        raise UserError(f"{file} is damaged: it has no {name!r}; {AGAIN}")
    try:
        return msgspec.convert(content[name], kind)
    except msgspec.ValidationError as error:
        raise UserError(f"{file} is damaged: it has a wrong {name!r} ({error}); {AGAIN}") from None


def _bits(file: Path, settings: Mapping[str, Any]) -> int:
    """Return the bits a channel that condensed.json says."""
    try:
        return bits_of(settings)
    except UserError as error:
        raise UserError(f"{file} is damaged: {error}; {AGAIN}") from None


def _read_images(file: Path, shape: list[int], bits: int) -> tuple[Tensor, Tensor]:
    """Read the images and labels, and check that they are of the set whose images have this shape and these bits."""
    tensors, metadata = files.read_tensors(file)
    version = FORMAT_VERSION if bits == FULL else PACKED
    if set(tensors) != {"images", "labels"} or metadata.get("format_version") != str(version):
        raise UserError(f"{file} is not of a condensed set of format version {version}; {AGAIN}")
    images, labels = tensors["images"], tensors["labels"]
    if bits < FULL:
        expected = bytes_of(tuple(shape), bits) if len(shape) == 4 and min(shape) > 0 else -1
        if images.dtype != torch.uint8 or images.ndim != 2 or len(images) != shape[0] or images.nbytes != expected:
            raise UserError(f"{file} and {META} are not of one set; {AGAIN}")
        images = unpacked(images, tuple(shape), bits)
    problem = tensor_problem(images, labels)
    if problem:
        raise UserError(f"{file} is damaged: {problem}; {AGAIN}")
    if list(images.shape) != shape:
        raise UserError(f"{file} and {META} are not of one set; {AGAIN}")
    return images, labels


def _read_soft(file: Path, told: _Soft) -> SoftLabels:
    """Read the soft labels of which condensed.json tells this."""
    tensors, _ = files.read_tensors(file)
    if set(tensors) != {"probabilities"}:
        raise UserError(f"{file} holds no soft labels; {AGAIN}")
    try:
        soft = SoftLabels(probabilities=tensors["probabilities"], origin=told.origin)
    except UserError as error:
        raise UserError(f"{file} is damaged: {error}; {AGAIN}") from None
    if soft.fingerprint != told.fingerprint:
        raise UserError(f"{file} and {META} are not of one set; {AGAIN}")
    return soft
