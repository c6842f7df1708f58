"""Which parquet files are which split: a pure function of their paths."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from m3d_condense.data.splits import some
from m3d_condense.data.words import ORDER, ROLES, TRAIN, SplitName, split_name
from m3d_condense.tools.errors import UserError

ENDINGS = (".parquet", ".parq", ".pq")


@dataclass(kw_only=True)
class Shards:
    """Parquet files by split.

    Attributes:
        train: the files of the training split.
        tests: those of each other split by its word, in the order in which they are taken for testing.
        unused: files beside the splits.
        notices: what the user should know.
    """

    train: list[str]
    tests: dict[str, list[str]] = field(default_factory=dict)
    unused: list[str] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)


def is_parquet(name: str) -> bool:
    """Whether a file is parquet by its ending, and not hidden."""
    return name.lower().endswith(ENDINGS) and not name.startswith(".")


def split_of(path: str) -> SplitName | None:
    """Return the split that a path names: in the file's name, else in the name of the nearest folder that does."""
    *folders, file = path.split("/")
    for name in (posixpath.splitext(file)[0], *reversed(folders)):
        named = split_name(name)
        if named is not None:
            return named
    return None


def assigned(paths: Sequence[str], shown: str, *, given: bool = False) -> Shards:
    """Assign parquet files to splits by their paths; files without any split among them are all for training.

    `given` says that the user named each file: then the files of a test split alone may be trained on. Raises
    UserError where there is no training split, and for the files of two data sets.
    """
    by_word: dict[str | None, list[str]] = {}
    for path in sorted(paths):
        named = split_of(path)
        by_word.setdefault(named.word if named else None, []).append(path)
    rest = by_word.pop(None, [])
    words = sorted((word for word in by_word if word is not None), key=lambda word: ORDER[word])
    train = [path for word in words if ROLES[word] == TRAIN for path in by_word[word]]
    tests = {word: by_word[word] for word in words if ROLES[word] != TRAIN}
    if not train and not tests:
        train, rest = rest, []
    if not train and given and len(tests) == 1 and not rest:
        train, tests = tests.popitem()[1], {}
    if not train:
        raise UserError(
            f"{shown} has no training split: {some([path for files in tests.values() for path in files])} by name for "
            f"testing{f', and {some(rest)} for nothing' if rest else ''}; call the training files train"
        )
    for files in (train, *tests.values()):
        _check_one_set(files, shown)
    notices = [line for files in (train, *tests.values()) for line in _absent(files)]
    return Shards(train=train, tests=tests, unused=rest, notices=notices)


def _check_one_set(files: Sequence[str], shown: str) -> None:
    """Raise UserError where the files of a split lie in several folders, but for those named after splits."""
    folders = {"/".join(f for f in posixpath.dirname(path).split("/") if split_name(f) is None) for path in files}
    values = [folder for folder in folders if re.search(r"(^|/)\w+=", folder)]
    if values:
        raise UserError(
            f"{shown} holds folders such as {values[0]}, whose names are values of a column: "
            "write the tables anew with that column in them"
        )
    if len(folders) > 1:
        names = some([folder or "." for folder in sorted(folders)])
        raise UserError(
            f"{shown} holds parquet files in the folders {names}: one data set, or several? Give one of the folders, "
            "or the list of all files"
        )


def _absent(files: Sequence[str]) -> list[str]:
    """Say which of the files numbered as 00000-of-00002 are missing."""
    seen: dict[tuple[str, str, int], set[int]] = {}
    for path in files:
        match = re.fullmatch(r"(.*?)(\d+)-of-(\d+)(.*)", path)
        if match is not None and int(match[3]) <= 100_000:
            seen.setdefault((match[1], match[4], int(match[3])), set()).add(int(match[2]))
    lines = []
    for (before, _, count), numbers in seen.items():
        absent = sorted(set(range(count)) - numbers)
        if absent:
            more = f" and {len(absent) - 1} more" if len(absent) > 1 else ""
            lines.append(f"{before}{absent[0]:05d}-of-{count:05d}{more} of {count} files is not there")
    return lines
