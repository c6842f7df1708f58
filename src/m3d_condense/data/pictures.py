"""Pictures before they are decoded: rows of a split, images as files, and what reading them raises."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from m3d_condense.data.raster import Item
from m3d_condense.tools.errors import UserError
from m3d_condense.tools.progress import is_quiet

Labels = NDArray[np.int64]
BATCH = 256  # undecoded images held at a time
_listeners: list[list[Path]] = []


@dataclass(frozen=True, kw_only=True)
class Rows:
    """One split before its images are decoded: its name, labels in 0..K-1, and an image column to iterate.

    `rows` are the rows' own numbers in the source, where some are left out; None where all are there. `parts` are the
    rows, ascending, of each split that it is divided into. `mode` is what the images are made, L or RGB; None leaves
    each grey or coloured as it is.
    """

    name: str
    labels: Labels
    images: Any
    rows: Labels | None = None
    parts: tuple[Labels, ...] = ()
    mode: str | None = None

    def divided(self) -> tuple[Labels, ...]:
        """Return the rows of each split: all of them, where it is not divided."""
        return self.parts or (np.arange(len(self.labels)),)

    def select(self, kept: NDArray[np.int64], labels: Labels) -> Rows:
        """Return some of the rows under new labels, ascending unless they are files; the others are not read."""
        numbers = np.arange(len(self.labels)) if self.rows is None else self.rows
        return replace(self, labels=labels, images=self.images.select(kept), rows=numbers[kept])

    def __iter__(self) -> Iterator[Item]:
        """Say where each image lies, in words, and give its path or its encoded bytes."""
        tables = self.images.iter(batch_size=BATCH)
        for index, item in enumerate(item for table in tables for item in table.column(0).to_pylist()):
            path, data = (item or {}).get("path"), (item or {}).get("bytes")
            if path is not None and data is None:
                yield path, path
            else:
                number = index if self.rows is None else self.rows[index]
                yield f"in row {number} of the {self.name} split", data or b""


@dataclass(frozen=True, kw_only=True)
class Files:
    """Images as files, to be read as a column."""

    paths: Sequence[str]

    def select(self, kept: NDArray[np.int64]) -> Files:
        """Return some of the files."""
        return Files(paths=[self.paths[row] for row in kept])

    def iter(self, batch_size: int) -> Iterator[PathBatch]:
        """Yield batches of `batch_size` paths or fewer."""
        for start in range(0, len(self.paths), batch_size):
            yield PathBatch(self.paths[start : start + batch_size])


class PathBatch:
    """A batch of one column of paths, read like one of Arrow, which holds no names that are not UTF-8."""

    def __init__(self, paths: Sequence[str]) -> None:
        self._paths = paths

    def column(self, number: int) -> PathBatch:
        """Return the one column."""
        assert number == 0
        return self

    def to_pylist(self) -> list[dict[str, Any]]:
        """Return objects as a column of images holds them."""
        return [{"bytes": None, "path": path} for path in self._paths]


def inside(path: str, beside: Path, folder: Path, where: str) -> Path:
    """Return the regular file that `where` names by a path relative to `beside`; UserError unless it is in `folder`."""
    try:
        found = (beside / path).resolve()
        if found.is_relative_to(folder.resolve()) and found.is_file():
            for named in _listeners:
                named.append(found)
            return found
    except (OSError, ValueError) as error:  # a name that is too long, or none
        raise UserError(f"{where} names the file {path}: {error}; write the images into the table") from error
    raise UserError(
        f"{where} names the file {path}, which is none in {folder}: put it there, or write the images into the table"
    )


@contextmanager
def named_files() -> Iterator[list[Path]]:
    """Collect the files that tables name while this lasts: they are read though nobody has given their paths."""
    named: list[Path] = []
    _listeners.append(named)
    try:
        yield named
    finally:
        _listeners[:] = [other for other in _listeners if other is not named]


@contextmanager
def translated(data: str | list[str], local: bool) -> Iterator[None]:
    """Turn the errors of reading into one line for the user, and silence `datasets` where it takes part.

    A download shows its bar unless quiet. What is read here without `datasets` does not wait for its import.
    """
    try:
        with _silenced(bars=not (local or is_quiet() or not sys.stderr.isatty())):
            yield
    except UserError:
        raise
    except _errors_of_reading() as error:
        reason = (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
        if local:
            raise UserError(f"cannot read {data}: {reason}; check or replace the file") from error
        if "config name is missing" in reason.lower():
            choice = " ".join(str(error).split())
            raise UserError(f"{data} has several configurations; give one as {data}:NAME. {choice}") from error
        raise UserError(
            f"{data} is no local path, and the hub did not give it: {reason}; check name and network, "
            "run `hf auth login` if it is gated, or give a folder, parquet files or an .npz"
        ) from error


def _errors_of_reading() -> tuple[type[Exception], ...]:
    """Return what reading raises, by the libraries that took part."""
    errors: list[type[Exception]] = [OSError, ValueError]
    if pyarrow := sys.modules.get("pyarrow"):
        errors.append(pyarrow.ArrowException)
    if datasets := sys.modules.get("datasets"):
        errors.append(datasets.exceptions.DatasetsError)
    return tuple(errors)


@contextmanager
def _silenced(bars: bool) -> Iterator[None]:
    """Silence `datasets` where it has been imported, its progress bars too unless they are wanted."""
    if "datasets" not in sys.modules:
        yield
        return
    import datasets
    import huggingface_hub

    loggers = [(module, module.get_verbosity()) for module in (datasets.logging, huggingface_hub.logging)]
    shown = [module for module in (datasets, huggingface_hub.utils) if not module.are_progress_bars_disabled()]
    for module, _ in loggers:
        module.set_verbosity(logging.CRITICAL)
    if not bars:
        for module in shown:
            module.disable_progress_bars()
    try:
        yield
    finally:
        for module, verbosity in loggers:
            module.set_verbosity(verbosity)
        for module in shown:
            module.enable_progress_bars()
