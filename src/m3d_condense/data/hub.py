"""Data sets of the Hugging Face hub: known names, addresses, and their tables; they rest in the cache of `datasets`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from m3d_condense.data.imagenet import SUBSETS
from m3d_condense.data.pictures import inside
from m3d_condense.tools.errors import UserError
from m3d_condense.tools.progress import notice


@dataclass(frozen=True, kw_only=True)
class HubSet:
    """A data set of the hub.

    Attributes:
        id, config: of the hub.
        label_column: where it cannot be told by type.
        subset: a key of `imagenet.SUBSETS`, whose classes are kept, in order; None keeps all.
        mirrored: whether a mirrored image keeps its class.
    """

    id: str
    config: str | None = None
    label_column: str | None = None
    subset: str | None = None
    mirrored: bool = True


HUB_SETS = {
    "mnist": HubSet(id="ylecun/mnist", mirrored=False),
    "fashion-mnist": HubSet(id="zalando-datasets/fashion_mnist"),
    "svhn": HubSet(id="ufldl-stanford/svhn", config="cropped_digits", mirrored=False),
    "cifar10": HubSet(id="uoft-cs/cifar10"),
    "cifar100": HubSet(id="uoft-cs/cifar100", label_column="fine_label"),
    **{name: HubSet(id="ILSVRC/imagenet-1k", subset=name) for name in SUBSETS},
}
NAMES = ("digits", *HUB_SETS)
KNOWN = {word for name, known in HUB_SETS.items() for word in (name, known.id)}
"""Names and hub ids of known data sets."""
UNMIRRORED = {"digits"} | {word for name, known in HUB_SETS.items() if not known.mirrored for word in (name, known.id)}
"""Names and hub ids of known data sets whose images change their meaning when they are mirrored."""

ADDRESS = re.compile(r"(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)/datasets/|hf://datasets/|datasets/")


def hub_id(text: str) -> str | None:
    """Return the ``owner/name`` or ``owner/name:config`` that a text gives, as it is or as an address; else None."""
    start = ADDRESS.match(text)
    if start is not None:
        text = "/".join(re.split(r"[?#]", text[start.end() :])[0].strip("/").split("/")[:2])
    return text if re.fullmatch(r"\w[\w.-]*/[\w.-]+(:[\w.-]+)?", text) else None


def read(data: str, known: HubSet | None) -> dict[str, Any]:
    """Load the tables of a data set by split; raises what `datasets` raises."""
    import datasets

    name, _, config = data.partition(":")
    hub = known or HubSet(id=name, config=config or None)
    notice(f"Reading {hub.id} from the Hugging Face hub, or its cache on this machine")
    return dict(datasets.load_dataset(hub.id, hub.config))


@dataclass(frozen=True, kw_only=True)
class HubTable:
    """One split as a table of `datasets`; see `table_splits.AnyTable`.

    `folder` is where images that are given by their paths must lie; None allows any place, for data of the hub, whose
    images lie in the cache.
    """

    name: str
    table: Any
    folder: Path | None = None

    def __post_init__(self) -> None:
        """Raise UserError for a table with a transform, which may be any program."""
        if getattr(self.table, "format", {}).get("type") == "custom":
            raise UserError(
                f"the {self.name} split has a transform, which is not applied here: apply it with map(), or give the "
                "plain data set, with_format(None)"
            )

    @property
    def columns(self) -> list[str]:
        """The names of the columns."""
        return list(self.table.features)

    def image_columns(self) -> list[str]:
        """Return the columns of images by their type, else those of bytes."""
        import datasets

        kinds = self.table.features.items()
        known = [name for name, kind in kinds if isinstance(kind, datasets.Image)]
        binary = (datasets.Value("binary"), datasets.Value("large_binary"))
        return known or [name for name, kind in kinds if kind in binary or (isinstance(kind, dict) and "bytes" in kind)]

    def array_columns(self) -> list[str]:
        """Return the columns of arrays of numbers."""
        from m3d_condense.data.nested import number_type

        return [field.name for field in self.table.features.arrow_schema if number_type(field.type) is not None]

    def flat_columns(self) -> list[str]:
        """Return the columns of numbers in one row, as images that have lost their height and width."""
        from m3d_condense.data.nested import is_flat

        return [field.name for field in self.table.features.arrow_schema if is_flat(field.type)]

    def label_columns(self) -> list[str]:
        """Return the columns whose values may be labels: numbers or text."""
        from m3d_condense.data.schema import holds_labels

        return [field.name for field in self.table.features.arrow_schema if holds_labels(field.type)]

    def text_columns(self) -> list[str]:
        """Return the columns of text."""
        from m3d_condense.data.schema import holds_text, one_of_few

        return [field.name for field in self.table.features.arrow_schema if holds_text(one_of_few(field.type))]

    def class_columns(self) -> list[str]:
        """Return the columns of classes by their type."""
        import datasets

        return [name for name, kind in self.table.features.items() if isinstance(kind, datasets.ClassLabel)]

    def count(self) -> int:
        """Return how many rows there are."""
        return len(self.table) if hasattr(self.table, "__len__") else sum(1 for _ in self.table)

    def values(self, columns: Sequence[str]) -> Iterator[tuple[str, list[Any]]]:
        """Yield columns and all their values, read at once and without the images."""
        batches = list(self.table.select_columns(list(columns)).with_format("arrow").iter(batch_size=10_000))
        for column in columns:
            yield column, [value for batch in batches for value in batch.column(column).to_pylist()]

    def labels(self, columns: Sequence[str]) -> Iterator[tuple[str, list[Any], tuple[str, ...]]]:
        """Yield columns, all their values, and the names that ids among these stand for."""
        kinds = self.table.features
        for column, values in self.values(columns):
            yield column, values, tuple(getattr(kinds[column], "names", ()))

    def mode(self, column: str) -> str | None:
        """Return the mode of PIL's that a column of images has been cast to; None where it has not."""
        return getattr(self.table.features[column], "mode", None)

    def images(self, column: str, rows: NDArray[np.int64]) -> Any:
        """Return the images of some rows, ascending, undecoded; raises UserError for a column that holds none."""
        import datasets

        from m3d_condense.data.nested import ArrayColumn, number_type
        from m3d_condense.data.schema import check_images

        images, kind = self.table.select_columns([column]), self.table.features.arrow_schema.field(column).type
        dtype = number_type(kind)
        if dtype is None:
            check_images(kind, column)
            images = images.cast_column(column, datasets.Image(decode=False))
        images = images.with_format("arrow")
        chosen = images.select(rows) if hasattr(images, "select") else _Chosen(table=images, rows=rows)
        if dtype is not None:
            return ArrayColumn(column=chosen, dtype=dtype)
        return chosen if self.folder is None else _Within(table=chosen, folder=self.folder)


@dataclass(frozen=True, kw_only=True)
class _Chosen:
    """Some rows of a table that can only be read from its start."""

    table: Any
    rows: NDArray[np.int64]

    def select(self, kept: NDArray[np.int64]) -> _Chosen:
        """Return some of these rows."""
        return replace(self, rows=self.rows[kept])

    def iter(self, batch_size: int) -> Iterator[Any]:
        """Yield batches of the rows, `batch_size` or fewer."""
        start = 0
        for batch in self.table.iter(batch_size=batch_size):
            first, last = np.searchsorted(self.rows, [start, start + len(batch)])
            if first < last:
                yield batch.take(self.rows[first:last] - start)
            start += len(batch)


@dataclass(frozen=True, kw_only=True)
class _Within:
    """A column of images of which those that are given by their paths must lie in a folder."""

    table: Any
    folder: Path

    def select(self, kept: NDArray[np.int64]) -> _Within:
        """Return some of the rows."""
        return replace(self, table=self.table.select(kept))

    def iter(self, batch_size: int) -> Iterator[Any]:
        """Yield the batches; raises UserError for a path that leads out of the folder."""
        for batch in self.table.iter(batch_size=batch_size):
            for item in batch.column(0).to_pylist():
                if item is not None and item.get("bytes") is None and item.get("path") is not None:
                    inside(item["path"], self.folder, self.folder, "the table")
            yield batch
