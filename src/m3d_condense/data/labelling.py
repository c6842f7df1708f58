"""From tables of splits to labelled rows: which columns, which split is for testing, which rows have a label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from m3d_condense.data.columns import FLAT, INDEX, LABELS, choose_labels, one_hot, unused_columns
from m3d_condense.data.labels import any_label, encode, labelled_rows
from m3d_condense.data.naming import name_files
from m3d_condense.data.pictures import Rows
from m3d_condense.data.schema import by_name
from m3d_condense.data.split_columns import holds_splits, splits_of
from m3d_condense.data.splits import some
from m3d_condense.data.table_splits import AnyTable, TableSplit, as_flags
from m3d_condense.data.words import ORDER, ROLES, TEST, TRAIN, VALID, plain, split_name
from m3d_condense.tools.errors import Setting, UserError
from m3d_condense.tools.progress import notice
from m3d_condense.tools.text import listed


def labelled(
    train: AnyTable,
    tests: Sequence[AnyTable] = (),
    *,
    image_column: str | None = None,
    label_column: str | None = None,
) -> tuple[list[Rows], tuple[str, ...]]:
    """Choose the columns, the rows that have a label, and the first of the other splits that has any as test split.

    A column of splits divides the training table. Returns the training split, the test split where there is one, and
    the K class names. Raises UserError where a column cannot be told, and where one contradicts the tables' splits.
    """
    image = _image_column(train, image_column)
    splits, (first, *others) = _divided(train, tests, (image, label_column))
    label = _one_hot_columns(train, (image, *splits)) if label_column is None else []
    label = label or [_label_column(train, (image, *splits), label_column)]
    if unused := [name for name in train.columns if name not in (image, *label, *splits)]:
        notice(unused_columns(unused))
    values, names = first.labels(label)
    if not values:
        raise UserError(f"the {train.name} split has no rows; give data that are not empty")
    parts, labels = [first], [values]
    for other in others:
        found = _test_labels(other, label, names)
        if len(parts) > 1:
            notice(f"The {other.name} split is not used ({len(found)} rows)")
        elif not any_label(found):
            notice(f"The {other.name} split has no labels, and is not used ({len(found)} rows)")
        else:
            parts.append(other)
            labels.append(found)
            if not other.name.lower().startswith("test"):
                notice(f"There is no labelled test split: the {other.name} split is the test split")
    encoded, class_names = encode(labels, names)
    chosen = zip(parts, encoded, labelled_rows(encoded), strict=False)
    return [part.images(image, kept, numbers) for part, numbers, kept in chosen], class_names


def _divided(
    train: AnyTable, tests: Sequence[AnyTable], taken: Sequence[str | None]
) -> tuple[list[str], list[TableSplit]]:
    """Return the columns that tell the splits, none where there are none, and the splits, that of training first.

    Raises UserError where such a column and the tables' own splits contradict each other, and where it says that no
    row is for training.
    """
    parts = [TableSplit(name=table.name, table=table) for table in (train, *tests)]
    classes = {name for name in train.class_columns() if plain(name) in LABELS}  # which may be called as splits are
    possible = set(train.label_columns()) - classes
    columns = [name for name in train.columns if name in possible or holds_splits(name)]  # the latter may be bytes
    found = _said(train, [name for name in columns if name not in taken])
    if found is None:
        return [], parts
    columns, roles = found
    for test in tests:
        said = _said(test, [name for name in columns if name in test.columns])
        _check_apart(test, columns, said[1].count(TRAIN) if said is not None else 0, TRAIN)
    rows = {role: np.flatnonzero([said == role for said in roles]) for role in (TRAIN, TEST, VALID)}
    for test in tests:
        role = ROLES[_word(test.name)]
        _check_apart(train, columns, len(rows[role]), role)
    if len(rows[TRAIN]) == 0:
        raise UserError(
            f"the {train.name} split has no training rows: the column {some(columns)} says {some(sorted(set(roles)))} "
            "in all of them; give the training rows too, or leave the column out"
        )
    if len(rows[TRAIN]) < len(roles):
        notice(f"The splits are read from the column {some(columns)}")
        parts[0] = TableSplit(name=train.name, table=train, rows=rows.pop(TRAIN))
        parts += [TableSplit(name=role, table=train, rows=number) for role, number in rows.items() if len(number) > 0]
    return columns, [parts[0], *sorted(parts[1:], key=lambda part: ORDER[_word(part.name)])]


def _word(name: str) -> str:
    """Return the word for a split in the name of a table."""
    named = split_name(name)
    return TEST if named is None else named.word


def _said(table: AnyTable, columns: Sequence[str]) -> tuple[list[str], list[str]] | None:
    """Return which of the columns tell the splits, and the split of each row; see `splits_of`."""
    texts = {
        column: [_as_text(value) for value in by_name(values, names)] for column, values, names in table.labels(columns)
    }
    return splits_of(texts, f"the {table.name} split")


def _as_text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return "" if value is None or value != value else str(value)


def _check_apart(table: AnyTable, columns: Sequence[str], count: int, role: str) -> None:
    """Raise UserError where rows of one table are of a split that has a table of its own."""
    if count > 0:
        raise UserError(
            f"the column {some(columns)} says {role} in {count} rows of the {table.name} split, but the {role} split "
            "is another table: which is right? Correct the column, or leave it out"
        )


def _test_labels(test: TableSplit, label: Sequence[str], names: Sequence[str]) -> list[Any]:
    """Return the labels of another split, as ids if it has the names of training, else as names."""
    values, own = test.labels(label)
    return values if own == tuple(names) else by_name(values, own)


def _image_column(table: AnyTable, given: str | None) -> str:
    if given is not None and given not in table.columns:
        raise UserError(f"no column {given}; give {Setting('image_column')} one of: {', '.join(table.columns)}")
    if given is not None:
        return given
    found, arrays = table.image_columns(), table.array_columns()
    if not found and not arrays:
        said = f"no column of images, of encoded bytes or of arrays, only: {listed(table.columns, 8)}"
        if flat := table.flat_columns():
            said += f"; {flat[0]} {FLAT}"
        elif paths := [name for name, values in table.values(table.text_columns()) if name_files(values)]:
            said += (
                f"; {paths[0]} names files: write these rows as labels.csv into the folder of the images, and give that"
            )
        raise UserError(said)
    named = [name for name in (*found, *arrays) if plain(name) in ("image", "img")]
    found = named if len(named) == 1 else found or arrays
    if len(found) > 1:
        raise UserError(f"cannot tell the images; give {Setting('image_column')} one of: {', '.join(found)}")
    return found[0]


def _one_hot_columns(table: AnyTable, taken: Sequence[str]) -> list[str]:
    """Return the columns that are each 1 for the rows of one class; none where there are no such columns."""
    possible = [name for name in table.label_columns() if name not in taken and plain(name) not in INDEX]
    if table.class_columns() or any(plain(name) in LABELS for name in table.columns):
        return []
    hot = one_hot({name: as_flags(values) for name, values in table.values(possible)})
    return possible if hot is not None else []


def _label_column(table: AnyTable, taken: Sequence[str], given: str | None) -> str:
    """Return the column given, or the one that is called `label` or the like, else the only one that may be."""
    columns = [name for name in table.columns if name not in taken]
    if given is not None and given not in columns:
        raise UserError(
            f"no column of labels named {given}; give {Setting('label_column')} one of: {', '.join(columns)}"
        )
    if given is not None:
        return given
    possible = [name for name in table.label_columns() if name not in taken]
    called = [name for name in columns if plain(name) in LABELS]
    known = [name for name in table.class_columns() if name not in taken]
    if called and not known and not set(called) & set(possible):
        raise UserError(
            f"the column {called[0]} holds neither numbers nor text, but one label an image is needed; "
            f"give {Setting('label_column')} one of: {', '.join(possible) or 'no other column may be'}"
        )
    candidates = [name for name in possible if name in known or name in called] if known else possible
    read = table.values(candidates)
    values = {name: column for name, column in read if name in called or not _is_measured(column)}
    chosen = choose_labels(values, f"the {table.name} split")
    if chosen is None:
        raise UserError(f"no column of labels, only: {', '.join(table.columns)}; add one label an image")
    return chosen


def _is_measured(values: Sequence[Any]) -> bool:
    """Whether there are numbers between the whole ones."""
    return any(isinstance(value, float) and value == value and not value.is_integer() for value in values)
