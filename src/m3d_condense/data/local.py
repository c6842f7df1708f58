"""What lies on this machine: a folder of images, parquet files, or a data set that `datasets` has saved.

Folders are listed once; `layout` and `shards` decide from the names alone, and no network is asked.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from m3d_condense.data import exported, foreign, shards
from m3d_condense.data.hub import HubTable
from m3d_condense.data.labelling import labelled
from m3d_condense.data.labels import encode, labelled_rows, notice_doubtful
from m3d_condense.data.layout import Layout, pictures_layout
from m3d_condense.data.numbered import with_names
from m3d_condense.data.pictures import Files, Rows, translated
from m3d_condense.data.pruning import pruned
from m3d_condense.data.raster import readable_endings
from m3d_condense.data.shards import Shards
from m3d_condense.data.side_files import lists_labels, side_files
from m3d_condense.data.splits import some
from m3d_condense.data.tables import ImageColumn, as_lines, table
from m3d_condense.data.tree import Folder, ending, is_picture, listing, tree
from m3d_condense.data.words import ORDER, ROLES, TRAIN, split_name
from m3d_condense.tools.errors import UserError
from m3d_condense.tools.progress import notice

Found = tuple[list[Rows], tuple[str, ...]]
LARGEST = 2**27  # bytes of a file that may list labels


def find(
    paths: Sequence[Path], image_column: str | None, label_column: str | None, asked: Sequence[str] | None
) -> Found:
    """Read a folder, or parquet files that are named one by one; see `sources.find`."""
    if len(paths) == 1 and paths[0].is_dir():
        return _folder(paths[0], image_column, label_column, asked)
    for path in paths:
        _check_parquet(path)
    folder = Path(os.path.commonpath([path.parent for path in paths]))
    names = [path.relative_to(folder).as_posix() for path in paths]
    return _parquet(shards.assigned(names, "the list of files", given=True), folder, image_column, label_column)


def labelled_tables(
    tables: dict[str, Any],
    image_column: str | None,
    label_column: str | None,
    *,
    folder: Path | None = None,
) -> Found:
    """Take tables of `datasets` by split; the splits are told by their names.

    `folder` is where images that are given by their paths must lie.
    """
    words = {name: split.word for name in tables if (split := split_name(name)) is not None and not split.rest}
    ordered = sorted(words, key=lambda name: ORDER[words[name]])
    train = next((name for name in ordered if ROLES[words[name]] == TRAIN), None)
    if train is None:
        raise UserError(f"no train split, only {', '.join(tables)}")
    tests = [name for name in ordered if ROLES[words[name]] != TRAIN]
    unused = [name for name in tables if name not in (train, *tests)]
    if unused:
        notice(f"Splits not used: {', '.join(unused)}")
    unknown = next((name for name in (train, *tests) if tables[name].features is None), None)
    if unknown is not None:
        raise UserError(
            f"the {unknown} split is a stream whose columns are not known: name them where it is made, as by "
            "map(…, features=…) or from_generator(…, features=…)"
        )
    first, *later = (HubTable(name=name, table=tables[name], folder=folder) for name in (train, *tests))
    return labelled(first, later, image_column=image_column, label_column=label_column)


def _check_parquet(path: Path) -> None:
    """Raise UserError for what is no parquet file, with what it looks like."""
    if not path.is_file():
        raise UserError(f"cannot read {path}: it is {'a folder among files' if path.is_dir() else 'no regular file'}")
    if shards.is_parquet(path.name):
        return
    if is_picture(path.name, readable_endings()):
        raise UserError(f"{path} is one image: give a folder that holds one sub-folder of images per class")
    if ending(path.name) in (".npz", ".mat"):
        raise UserError(f"{path} among several files: {foreign.ONE_FILE}")
    kind = foreign.kind_of(path.name)
    reason = f"it looks like {kind[0]}; {kind[1]}" if kind else "its ending is not known"
    raise UserError(f"cannot read {path}: {reason}. A folder, .parquet files and .npz are read")


def _folder(root: Path, image_column: str | None, label_column: str | None, asked: Sequence[str] | None) -> Found:
    endings = readable_endings()
    paths, skipped = listing(root, endings)
    whole = tree(paths, endings)
    if foreign.is_saved(whole.others):
        return _saved(root, image_column, label_column)
    known = exported.read(root, whole) if image_column is None and label_column is None else None
    if known is not None:
        rows, class_names, others = known
        _notice_unused(root, others + skipped)
        return rows, class_names
    folder, unused = pruned(whole, str(root))
    found = [path for below in folder.walk() for path in below.paths(filter(shards.is_parquet, below.others))]
    if folder.count == 0 and not found:
        raise UserError(_nothing(root, folder, unused))
    if folder.count > 0:
        found = [path for path in found if not lists_labels(path)]
    try:
        layout = _pictures(root, folder, found, image_column, label_column, asked) if folder.count > 0 else None
    except UserError as refusal:  # a class may be called as a folder that is left out
        raise UserError(f"{refusal}{_left_out(unused + skipped)}") from None
    if layout is not None:
        _notice_unused(root, unused + layout.unused + skipped)
        for line in layout.notices:
            notice(line)
        return _rows(root, layout)
    rows, class_names = _parquet(shards.assigned(found, str(root)), root, image_column, label_column)
    _notice_unused(root, unused + skipped + _beside_tables(root, folder, rows))
    return rows, class_names


def _beside_tables(root: Path, folder: Folder, parts: Sequence[Rows]) -> Counter[str]:
    """Count the files beside parquet files that these do not name for an image."""
    named = {file for part in parts if isinstance(part.images, ImageColumn) for file in part.images.files()}
    unused: Counter[str] = Counter()
    for below in folder.walk():
        unused["images"] += sum((root / path).resolve() not in named for path in below.paths(below.pictures))
        unused.update(ending(name) for name in below.others if not shards.is_parquet(name))
    return unused


def _pictures(
    root: Path,
    folder: Folder,
    found: Sequence[str],
    file_column: str | None,
    label_column: str | None,
    asked: Sequence[str] | None,
) -> Layout | None:
    """Lay out the pictures of a folder; None where its parquet files, `found`, are the data.

    Raises UserError where either may be meant.
    """
    complete = any((named := shards.split_of(path)) is not None and named.role == TRAIN for path in found)
    try:
        texts = with_names(_texts(root, side_files(folder)), str(root))
        layout = pictures_layout(
            folder, texts, shown=str(root), file_column=file_column, label_column=label_column, asked=asked
        )
    except UserError as refusal:
        if complete:
            return None
        if found:
            raise UserError(f"{refusal}; or give {some(found)} itself, if the data are there") from refusal
        raise
    if complete:
        raise UserError(
            f"{root} holds folders of images ({some(sorted(set(layout.parts[0].labels)))}) and parquet files "
            f"({some(found)}): which are the data? Move the others away, or give the list of the parquet files"
        )
    if found:
        notice(f"{some(found)} in {root}: not used, the images are read")
    return layout


def _texts(root: Path, paths: Sequence[str]) -> dict[str, str]:
    """Read the files that may list labels; names those that are too large, or no text."""
    read = {path: _text(root / path) for path in paths}
    closed = [path for path, text in read.items() if text is None]
    if closed:
        notice(
            f"{some(closed)} in {root}: not read, for labels are listed in UTF-8 text of {LARGEST >> 20} MiB at most"
        )
    return {path: text for path, text in read.items() if text is not None}


def _text(file: Path) -> str | None:
    """Read a file that may list labels; None where it is too large, or no text."""
    if shards.is_parquet(file.name):
        return as_lines(file)
    try:
        if file.stat().st_size > LARGEST:
            return None
        data = file.read_bytes()
        return data.decode("utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def _rows(root: Path, layout: Layout) -> Found:
    """Number the classes of a layout, and leave out the pictures without a label."""
    numbers: dict[str, Any] = {name: number for number, name in enumerate(layout.classes)}
    labels = [[numbers.get(label, label) for label in part.labels] for part in layout.parts]
    notice_doubtful(layout.classes)
    encoded, class_names = encode(labels, layout.classes)
    rows = []
    for part, values, kept in zip(layout.parts, encoded, labelled_rows(encoded), strict=False):
        files = [str(root / part.files[row]) for row in kept]
        rows.append(Rows(name=part.name, labels=values[kept], images=Files(paths=files)))
    return rows, class_names


def _parquet(assigned: Shards, folder: Path, image_column: str | None, label_column: str | None) -> Found:
    for line in assigned.notices:
        notice(line)
    if assigned.unused:
        notice(f"{some(assigned.unused)} in {folder}: not used, the files of the splits are read")
    train = table("train", [folder / path for path in assigned.train], folder)
    tests = [table(word, [folder / path for path in files], folder) for word, files in assigned.tests.items()]
    return labelled(train, tests, image_column=image_column, label_column=label_column)


def _saved(root: Path, image_column: str | None, label_column: str | None) -> Found:
    import datasets

    with translated(str(root), local=True):
        try:
            saved = datasets.load_from_disk(str(root))
        except IndexError as error:  # of datasets, for a split of which nothing was written
            raise UserError(f"{root} holds a split without rows: save it again without that split") from error
        except (KeyError, TypeError, AttributeError) as error:  # what it looks up in JSON that is not its own
            raise UserError(
                f"cannot read {root}: its state.json or dataset_info.json is damaged; save it again"
            ) from error
        tables = dict(saved) if isinstance(saved, dict) else {"train": saved}
        return labelled_tables(tables, image_column, label_column, folder=root)


def _nothing(root: Path, folder: Folder, unused: Counter[str]) -> str:
    given, kinds = foreign.by_itself(root, folder), foreign.content(folder)
    held = f"; it holds {kinds}" if kinds else ""
    if given:
        held = f"; give {some([str(root / path) for path in given])} itself"
        held += f", or else: {foreign.ONE_FILE}" if [ending(path) for path in given].count(".npz") > 1 else ""
    return f"{root} holds neither parquet files nor one sub-folder of images per class{held}{_left_out(unused)}"


def _left_out(unused: Counter[str]) -> str:
    """End a refusal with what had been left out before."""
    return f"; left out are {_counted(unused)}" if +unused else ""


def _counted(unused: Counter[str]) -> str:
    """Name what is not used, the most first, with its count."""
    counts = (+unused).most_common()
    more = f", and {sum(count for _, count in counts[12:])} more" if len(counts) > 12 else ""
    return ", ".join(f"{count} {what}" for what, count in counts[:12]) + more


def _notice_unused(root: Path, unused: Counter[str]) -> None:
    """Name in one line all that is not used."""
    if +unused:
        notice(f"Not used in {root}: {_counted(unused)}")
