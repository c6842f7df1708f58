"""Pictures found by what a list calls them, and the splits that the names of files and folders tell."""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

from m3d_condense.data.side_files import Table, is_number
from m3d_condense.data.split_columns import tells_splits
from m3d_condense.data.words import split_name

_Key = tuple[str | None, str]


class Index:
    """Finds pictures by a path, else by a file's name, else by its name without the ending, where these are unique.

    A name need be unique only among the pictures that lie in folders of one split.
    """

    def __init__(self, pictures: Sequence[str]) -> None:
        self.paths = set(pictures)
        self.blanks = any(" " in path for path in pictures)
        names = [(posixpath.basename(path), path) for path in pictures]
        stems = [(posixpath.splitext(name)[0], path) for name, path in names]
        self.names = [
            _unique([((role, key), path) for key, path in keys for role in {None, lies_in(path)}])
            for keys in (names, stems)
        ]

    def find(self, folder: str, value: str, role: str | None) -> str | None:
        """Find the picture that a file in `folder`, which lists the split `role`, calls `value`."""
        value = value.strip().replace("\\", "/")
        if not value:
            return None
        for path in (posixpath.join(folder, value), value):
            if path in self.paths or (path := posixpath.normpath(path)) in self.paths:
                return path
        name = posixpath.basename(value)
        found = (known.get((of, name)) for of in (role, None) for known in self.names)
        return next((path for path in found if path is not None), None)

    def is_name(self, folder: str, value: str, role: str | None) -> bool:
        """Whether text, with its blanks, is the name of a picture, and not a name beside other words."""
        if " " in value and not self.blanks:
            return False
        found = self.find(folder, value, role)
        *_, tail = re.findall(r"[^/]* [^/]*(?:/[^/ ]*)*$", value.replace("\\", "/")) or [value]
        return found is not None and f"/{found}".endswith((f"/{tail}", f"/{tail}{posixpath.splitext(found)[1]}"))


def lies_in(path: str) -> str | None:
    """Return the split in whose folder a file lies, by the names of the folders."""
    return _of_folder(posixpath.dirname(path))


@lru_cache(maxsize=2**14)
def _of_folder(folder: str) -> str | None:
    folders = [split_name(part) for part in folder.split("/")]
    return next((name.role for name in folders if name is not None and not name.rest), None)


def said_by(path: str) -> str | None:
    """Return the split that a file lists, by its name."""
    return _role_of(posixpath.splitext(posixpath.basename(path))[0])


def about(path: str) -> str | None:
    """Return the split among whose images a file's names are looked up first."""
    return said_by(path) or lies_in(path)


def _unique(pairs: Sequence[tuple[_Key, str]]) -> dict[_Key, str]:
    counts = Counter(key for key, _ in pairs)
    return {key: path for key, path in pairs if counts[key] == 1}


def naming_column(
    path: str, table: Table, index: Index, file_column: str | None
) -> tuple[str, list[str | None]] | None:
    """Find the column that names pictures: the one with the most of them, at least half of its rows or of all.

    In a list of splits one is enough, if the column is not of numbers and its values seldom repeat.
    Of two such columns, the one with the endings of files is taken: numbers of classes may be names of pictures.
    """
    folder, role = posixpath.dirname(path), about(path)
    best: tuple[str, list[str | None]] | None = None
    most = (0, 0)
    for name, values in zip(table.names, table.values, strict=True):
        if file_column not in (None, name):
            continue
        known = {value: index.find(folder, value, role) for value in set(values)}
        matched = [known[value] for value in values]
        count = len(set(matched) - {None})
        endings = sum("." in value for value in values)
        if count == 0 or (count, endings) <= most:
            continue
        if 2 * count >= min(len(values), len(index.paths)) or (_are_names(values) and _divides(path, table)):
            best, most = (name, matched), (count, endings)
    return best


def _divides(path: str, table: Table) -> bool:
    return said_by(path) is not None or tells_splits(table.columns)


def _are_names(values: Sequence[str]) -> bool:
    return 2 * len(set(values)) > len(values) and not all(map(is_number, values))


def _role_of(name: str) -> str | None:
    named = split_name(name)
    return named.role if named is not None else None
