"""A folder as a tree of names, made of a listing, and the reading of that listing from disk."""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from m3d_condense.data.words import is_hidden, is_system_folder, split_name
from m3d_condense.tools.errors import UserError

DEEPEST = 60  # folders within folders
READ_ALREADY = "links to folders that are read already"


@dataclass(frozen=True, kw_only=True)
class Folder:
    """A folder below the root of a listing: its path from there ("" is the root), its sub-folders, its files' names.

    `pictures` are the files that can be decoded, `others` the rest; all are sorted.
    """

    path: str
    folders: tuple[Folder, ...] = ()
    pictures: tuple[str, ...] = ()
    others: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Its own name."""
        return self.path.rpartition("/")[2]

    @cached_property
    def count(self) -> int:
        """How many pictures it holds at any depth."""
        return len(self.pictures) + sum(folder.count for folder in self.folders)

    @cached_property
    def files(self) -> int:
        """How many files it holds at any depth."""
        return len(self.pictures) + len(self.others) + sum(folder.files for folder in self.folders)

    @property
    def filled(self) -> list[Folder]:
        """The sub-folders that hold pictures at any depth."""
        return [folder for folder in self.folders if folder.count > 0]

    def walk(self) -> Iterator[Folder]:
        """Yield this folder and all below it, each before its sub-folders."""
        yield self
        for folder in self.folders:
            yield from folder.walk()

    def paths(self, names: Iterable[str]) -> list[str]:
        """Return the paths, from the root, of files of this folder."""
        return [f"{self.path}/{name}" if self.path else name for name in names]

    def all_pictures(self) -> list[str]:
        """Return the paths of its pictures at any depth."""
        return [path for folder in self.walk() for path in folder.paths(folder.pictures)]

    def without(self, dropped: Iterable[Folder]) -> Folder:
        """Return it without some of its own sub-folders."""
        gone = {folder.path for folder in dropped}
        return replace(self, folders=tuple(folder for folder in self.folders if folder.path not in gone))


@dataclass
class _Draft:
    folders: dict[str, _Draft] = field(default_factory=dict)
    files: set[str] = field(default_factory=set)


def tree(paths: Iterable[str], endings: set[str]) -> Folder:
    """Make a tree of relative paths; one that ends in "/" is a folder. `endings` are those of pictures."""
    root = _Draft()
    drafts = {"": root}
    for path in paths:
        folder, _, name = path.rpartition("/")
        draft = drafts.get(folder)
        if draft is None:
            draft = root
            for part in folder.split("/"):
                draft = draft.folders.setdefault(part, _Draft())
            drafts[folder] = draft
        if name:
            draft.files.add(name)
    return _made("", root, endings)


def _made(path: str, draft: _Draft, endings: set[str]) -> Folder:
    below = f"{path}/" if path else ""
    pictures: list[str] = []
    others: list[str] = []
    for name in sorted(draft.files):
        (pictures if is_picture(name, endings) else others).append(name)
    return Folder(
        path=path,
        folders=tuple(_made(below + name, draft.folders[name], endings) for name in sorted(draft.folders)),
        pictures=tuple(pictures),
        others=tuple(others),
    )


def is_picture(name: str, endings: set[str]) -> bool:
    """Whether a file's ending is one of pictures; hidden files, as ``._0.png``, are none."""
    return ending(name) in endings


def ending(name: str) -> str:
    """Return the end of a file's name in small letters, "hidden", or "without an ending"."""
    return "hidden" if name.startswith(".") else os.path.splitext(name)[1].lower() or "without an ending"  # noqa: PTH122


def stem_of(name: str) -> str:
    """Return a file's name without its ending."""
    return name.rpartition(".")[0] or name


def listing(root: Path, endings: set[str]) -> tuple[list[str], Counter[str]]:
    """List all regular files below `root`, and its empty folders with a "/" at the end, as relative paths.

    Links are followed, but no folder is entered twice and none that holds `root`: such links, and what is no regular
    file, are counted in words. Raises UserError for a picture's link to nowhere, for folders nested too deeply, and
    for folders that cannot be read, unless they are a system's.
    """
    walk = _Walk(root, endings)
    while (queue := next(filter(None, walk.waiting), None)) is not None:
        path, link = queue.popleft()
        (walk.follow if link else walk.enter)(path)
    return walk.paths, walk.skipped


class _Walk:
    """The state of a walk.

    Links wait, so that what they lead to keeps the name of its own place; but splits come first, with links in them:
    who makes a split of links means the split. Folders that are hidden or a system's wait for all, for their names are
    nobody's choice.
    """

    def __init__(self, root: Path, endings: set[str]) -> None:
        self.root, self.endings = root, endings
        self.real = root.resolve()
        self.waiting = [deque([("", False)]), *(deque[tuple[str, bool]]() for _ in range(4))]  # by rank
        self.paths: list[str] = []
        self.skipped: Counter[str] = Counter()
        self._entered: set[tuple[int, int]] = set()

    def enter(self, below: str, *, link: bool = False) -> None:
        """List one folder, unless it has been; put its sub-folders where they wait."""
        folder = self.root / below
        if below.count("/") > DEEPEST:
            raise UserError(f"{folder}: more than {DEEPEST} folders within folders; move the pictures up")
        try:
            status = folder.stat()
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            if not any(is_system_folder(part) for part in below.split("/")):
                raise UserError(f"cannot read {folder}: {error.strerror}; allow it or move the folder away") from error
            self.skipped["folders of a system, closed to us"] += 1
            return
        if (status.st_dev, status.st_ino) in self._entered:
            self.skipped[READ_ALREADY] += link
            return
        self._entered.add((status.st_dev, status.st_ino))
        for entry in entries:
            self._take(entry, below + entry.name)
        if not entries and below:
            self.paths.append(below)

    def follow(self, link: str) -> None:
        """List the folder that a link leads to, unless it holds the root."""
        if self.real.is_relative_to((self.root / link).resolve()):
            self.skipped[READ_ALREADY] += 1
        else:
            self.enter(link, link=True)

    def _take(self, entry: os.DirEntry[str], path: str) -> None:
        link = entry.is_symlink()
        try:
            folder, file = entry.is_dir(), entry.is_file()
            there = file or folder or Path(entry.path).exists()
        except OSError:  # a link to itself, or through a folder that is closed to us
            folder = file = there = False
        if folder:
            self.waiting[_rank(path, link=link)].append((f"{path}/", link))
        elif file:
            self.paths.append(path)
        elif there:
            self.skipped["pipes, sockets and devices"] += 1
        elif is_picture(entry.name, self.endings):
            raise UserError(f"{entry.path}: No such file, the link leads to nowhere; remove or mend it")
        else:
            self.skipped["links to nowhere"] += 1


def _rank(path: str, *, link: bool) -> int:
    """Return when a folder's turn is: those of splits, links in them, other folders, other links, those aside."""
    *_, name = parts = path.split("/")
    if not link and (is_hidden(name) or is_system_folder(name)):
        return 4
    named = map(split_name, parts)
    of_split = any(split is not None and not split.rest for split in named)
    return (1 if link else 0) if of_split else (3 if link else 2)
