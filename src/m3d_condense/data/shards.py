"""Which parquet files are which split: a pure function of their paths."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from m3d_condense.data.splits import some
from m3d_condense.data.words import ORDER, ROLES, TRAIN, SplitName, copied_name, split_name, tokens
from m3d_condense.tools.errors import UserError

ENDING = re.compile(r"\.(parquet|parq|pq)(\.(gzip|gz|snappy|zstd|brotli|lz4))?$", re.I)  # as pandas and Spark have it
FOLD = re.compile(r"(?:fold|cv)s?[\W_]*(\d+)", re.I)
SIZE = re.compile(r"\d+x\d+|\d+(?:px|k|pct|percent)|v\d+")
PIECES = {"part", "parts", "shard", "chunk", "batch", "split", "set", "data", "dataset"}  # words beside numbers
NUMBERED = re.compile(r"(.*?)(\d+)-of-(\d{1,6})(?!\d).*")  # behind these hubs write what tells one upload from another


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
    return ENDING.search(name) is not None and not name.startswith(".")


def split_of(path: str) -> SplitName | None:
    """Return the split that a path names: in the file's name, else in the name of the nearest folder that does."""
    *folders, file = path.split("/")
    for name in (_stem(file), *reversed(folders)):
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
    for files in (train, *list(tests.values())[:1]) if not given else ():
        _check_once(files, shown)
    notices = [line for files in (train, *tests.values()) for line in (*_joined(files), *_absent(files))]
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


def _check_once(files: Sequence[str], shown: str) -> None:
    """Raise UserError where two files of a split may hold the same rows: copies, two uploads, a part and the whole."""
    first: dict[str, str] = {}
    for path in files:
        first.setdefault(_stem(path).casefold(), path)
    for path in files:
        stem = _stem(path).casefold()
        original = first[stem] if first[stem] != path else first.get(copied_name(stem) or "")
        if original is not None:
            raise UserError(f"{path} in {shown} looks like a copy of {original}: remove it, or give it another name")
    words = {named.word for path in files if (named := split_of(path)) is not None}
    numbered, folds = _numbered(files), {match[1] for path in files if (match := FOLD.search(_stem(path)))}
    uploads = any(len(counts) > 1 or any(map(_repeat, counts.values())) for counts in numbered.values())
    whole, kinds = not words.isdisjoint(first), _kinds(files)
    if uploads or len(words) > 1 or len(folds) > 1 or (whole and numbered) or ("" in kinds and len(kinds) > 1):
        raise UserError(
            f"{some(files)} in {shown}: do they hold the same rows, as two uploads or a part beside the whole do? Move "
            "those away that are not meant, or give the list of files, in Python"
        )


def _joined(files: Sequence[str]) -> list[str]:
    """Say which files of one split are called otherwise than by numbers."""
    return [f"One split is read from {some(files)}"] if len(_kinds(files)) > 1 else []


def _kinds(files: Sequence[str]) -> set[str]:
    """Return what the names of the files of a split say beside it and their numbers; "" where that is nothing."""
    kinds = set()
    for path in files:
        stem = NUMBERED.sub(r"\1", _stem(path)).casefold()
        words = [word for word in tokens(stem) if not word.isdecimal() and word not in PIECES]
        named = split_name(stem)
        if named is not None:
            words.remove(named.word)
        kinds.add(" ".join([*words, *SIZE.findall(stem)]) if named is not None else "of no split in its name")
    return kinds


def _numbered(files: Sequence[str]) -> dict[str, dict[int, list[int]]]:
    """Return the numbers of files such as train-00000-of-00002, by what stands before them and by their count."""
    found: dict[str, dict[int, list[int]]] = {}
    for path in files:
        match = NUMBERED.fullmatch(path)
        if match is not None:
            found.setdefault(match[1], {}).setdefault(int(match[3]), []).append(int(match[2]))
    return found


def _repeat(numbers: Sequence[int]) -> bool:
    return len(set(numbers)) < len(numbers)


def _absent(files: Sequence[str]) -> list[str]:
    """Say which of the files numbered as 00000-of-00002 are missing."""
    lines = []
    for before, counts in _numbered(files).items():
        for count, numbers in counts.items():
            first = 1 if count in numbers else 0  # files may be counted from 1 on
            absent = sorted(set(range(first, first + count)) - set(numbers))
            if absent:
                more = f" and {len(absent) - 1} more" if len(absent) > 1 else ""
                lines.append(f"{before}{absent[0]:05d}-of-{count:05d}{more} of {count} files is not there")
    return lines


def _stem(path: str) -> str:
    """Return the name of a parquet file without its ending."""
    return ENDING.sub("", posixpath.basename(path))
