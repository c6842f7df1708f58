"""Pictures found by what a list calls them, and the splits that the names of files and folders tell."""

from __future__ import annotations

import posixpath
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from m3d_condense.data.words import is_drawn, split_name

_Key = tuple[str | None, str]
SAME = 50  # pictures of one name at most, among which the same capital letters are looked for


@dataclass(frozen=True, kw_only=True)
class _Match:
    """A picture that a name finds.

    Attributes:
        path: of the picture.
        parts: how many last parts of the name are those of its path.
        before: the other parts of the name, as those of a folder on another machine.
    """

    path: str
    parts: int
    before: str = ""


class Index:
    """Finds pictures by a path, or by as many of its last parts as one picture alone has, with its ending or without.

    Capital letters, and the two ways to write an accent, matter only where they tell pictures apart. A name need be
    unique only among the pictures that lie in folders of one split, or in none of another.
    """

    def __init__(self, pictures: Sequence[str]) -> None:
        self.paths = set(pictures)
        self.blanks = any(" " in path for path in pictures)
        self._pictures = pictures
        self._folders = {
            _folded(part) for folder in set(map(posixpath.dirname, pictures)) for part in folder.split("/")
        }
        self._deepest = max((path.count("/") + 1 for path in pictures), default=0)
        self._known: dict[int, _Tails] = {}

    def find(self, folder: str, value: str, role: str | None) -> str | None:
        """Find the picture that a file in `folder`, which lists the split `role`, calls `value`."""
        match = self._match(folder, value, role)
        return None if match is None else match.path

    def find_all(self, folder: str, values: Iterable[str], role: str | None) -> dict[str, str | None]:
        """Find the pictures that the rows of one file call so.

        Where some rows name a picture with its folder, what they write before that is where the data lay, and a row
        that writes anything else before a name means another folder, which is not there.
        """
        matches = {value: self._match(folder, value, role) for value in set(values)}
        found = {value: match for value, match in matches.items() if match is not None}
        roots = {match.before for match in found.values() if match.parts > 1}
        kept = {value: match.path for value, match in found.items() if not roots or match.before in {"", *roots}}
        return {value: kept.get(value) for value in matches}

    def called_alike(self, value: str) -> list[str]:
        """Return the pictures whose names, without folders and endings, are that of a value."""
        name = _stem(value.strip().replace("\\", "/"))
        return [path for path in self._pictures if _stem(path) == name]

    def is_folder(self, name: str) -> bool:
        """Whether a folder around pictures is called so."""
        return _folded(name.strip()) in self._folders

    def all_called(self, value: str, role: str | None) -> list[str]:
        """Return the pictures whose paths end with what a file that lists the split `role` calls one of them."""
        parts = _parts(value.strip().replace("\\", "/"))
        return self._endings(parts, None, role) if 0 < len(parts) <= self._deepest else []

    def _match(self, folder: str, value: str, role: str | None) -> _Match | None:
        value = value.strip().replace("\\", "/")
        if not value:
            return None
        parts = _parts(value)
        for path in (posixpath.join(folder, value), value):
            if path in self.paths or (path := posixpath.normpath(path)) in self.paths:
                return _Match(path=path, parts=len(parts))
        for depth in range(min(len(parts), self._deepest), 0, -1):
            for of in (role, None) if role is not None else (None,):
                found = self._endings(parts[-depth:], of, role)
                if len(found) == 1:
                    before = parts[:-depth]
                    within = self._lies_within(found[0], before)
                    return _Match(path=found[0], parts=depth, before=_folded("/".join(before))) if within else None
        return None

    def is_name(self, folder: str, value: str, role: str | None) -> bool:
        """Whether text, with its blanks, is the name of a picture, and not a name beside other words."""
        if " " in value and not self.blanks:
            return False
        found = self.find(folder, value, role)
        if found is None:
            return False
        *_, tail = re.findall(r"[^/]* [^/]*(?:/[^/ ]*)*$", value.replace("\\", "/")) or [value]
        tail, path = _folded(f"/{tail}"), _folded(f"/{found}")
        return path.endswith((tail, tail + posixpath.splitext(path)[1]))

    def _endings(self, parts: Sequence[str], among: str | None, role: str | None) -> list[str]:
        """Return the pictures whose paths end with these parts, those in folders of the split `among` or all.

        Of several, those in folders of another split than `role` are none, where the list is of a split.
        """
        tail, depth = "/".join(parts), len(parts)
        if depth not in self._known:
            self._known[depth] = _Tails(self._pictures, depth)
        known, key = self._known[depth], (among, _folded(tail))
        if key not in known.several:
            return [known.first[key]] if key in known.first else []
        same = known.several[key] if role is None else known.of_role(key, role)
        if len(same) <= SAME:
            same = [path for path in same if f"/{path}".endswith(f"/{tail}")] or same
            same = [path for path in same if not _lies_drawn(path)] if len(same) > 1 else same
        return same

    def _lies_within(self, path: str, folders: Sequence[str]) -> bool:
        """Whether a picture lies in those of these folders that are there: in another, it is another picture."""
        around = set(_folded(posixpath.dirname(path)).split("/"))
        return all(folder in around for folder in map(_folded, folders) if folder in self._folders)


class _Tails:
    """Pictures by so many last parts of their paths, with the ending and without, and by their split.

    Attributes:
        first: of each, the first.
        several: all of them, where there are more.
    """

    def __init__(self, pictures: Sequence[str], depth: int) -> None:
        self.first: dict[_Key, str] = {}
        self.several: dict[_Key, list[str]] = {}
        self._of_role: dict[tuple[_Key, str], list[str]] = {}
        for path in pictures:
            tail = _folded("/".join(path.rsplit("/", depth)[-depth:]))
            stem, role = posixpath.splitext(tail)[0], lies_in(path)
            for key in (tail, stem) if stem != tail else (tail,):
                self._add((None, key), path)
                if role is not None:
                    self._add((role, key), path)

    def of_role(self, key: _Key, role: str) -> list[str]:
        """Return those of several that lie in no folder of another split."""
        if (key, role) not in self._of_role:
            self._of_role[key, role] = [path for path in self.several[key] if lies_in(path) in (None, role)]
        return self._of_role[key, role]

    def _add(self, key: _Key, path: str) -> None:
        first = self.first.setdefault(key, path)
        if first is not path:
            self.several.setdefault(key, [first]).append(path)


def _parts(value: str) -> list[str]:
    return [part for part in posixpath.normpath(value).split("/") if part not in ("", ".", "..")]


def _stem(path: str) -> str:
    return _folded(posixpath.splitext(posixpath.basename(path))[0])


def _folded(text: str) -> str:
    return (text if text.isascii() else unicodedata.normalize("NFC", text)).casefold()


def _lies_drawn(path: str) -> bool:
    """Whether a picture lies in a folder of what is drawn on others, as ``masks``."""
    return any(map(is_drawn, posixpath.dirname(path).split("/")))


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


def _role_of(name: str) -> str | None:
    named = split_name(name)
    return named.role if named is not None else None
