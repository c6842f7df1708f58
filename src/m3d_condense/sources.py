"""Where images come from: the hub, folders and parquet files, found through `datasets`, decoded by PIL.

Local files are streamed where they lie; data from the hub rests in the cache of `datasets`. Images are
decoded one at a time into their final place, so that memory stays flat and a damaged one can be named.
"""

from __future__ import annotations

import difflib
import glob
import io
import logging
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from m3d_condense.errors import UserError
from m3d_condense.progress import notice, progress

Pixels = NDArray[np.uint8]
Labels = NDArray[np.int64]
TRAIN = ("train", "training")
TEST = ("test", "testing", "validation", "valid", "val")  # the first labelled one serves as test
BATCH = 256  # undecoded images held at a time

# The hundred classes of IDC and M3D in their order (the first ten are ImageNet-10), as label ids of
# ILSVRC/imagenet-1k: the ranks of their WordNet ids among the thousand in sorted order.
# fmt: off
IMAGENET_100 = (
    452, 64, 374, 236, 993, 176, 882, 904, 503, 74, 57, 959, 953, 508, 872, 228, 122, 421, 599, 858,
    157, 449, 994, 608, 151, 209, 15, 876, 246, 766, 455, 857, 131, 119, 234, 90, 45, 936, 479, 272,
    665, 653, 659, 158, 960, 765, 908, 703, 407, 560, 317, 938, 724, 748, 331, 619, 120, 267, 155, 708,
    368, 772, 167, 494, 180, 431, 342, 854, 305, 54, 268, 667, 166, 277, 662, 798, 313, 498, 299, 222,
    682, 593, 775, 674, 592, 137, 758, 717, 606, 281, 796, 211, 620, 830, 544, 275, 242, 570, 99, 169,
)
# fmt: on


@dataclass(frozen=True, kw_only=True)
class HubSet:
    """A data set of the hub: id, configuration, label column, and the label ids kept where not all are."""

    id: str
    config: str | None = None
    label_column: str | None = None
    classes: tuple[int, ...] | None = None


HUB_SETS = {
    "mnist": HubSet(id="ylecun/mnist"),
    "fashion-mnist": HubSet(id="zalando-datasets/fashion_mnist"),
    "svhn": HubSet(id="ufldl-stanford/svhn", config="cropped_digits"),
    "cifar10": HubSet(id="uoft-cs/cifar10"),
    "cifar100": HubSet(id="uoft-cs/cifar100", label_column="fine_label"),
    "imagenet-10": HubSet(id="ILSVRC/imagenet-1k", classes=IMAGENET_100[:10]),
    "imagenet-100": HubSet(id="ILSVRC/imagenet-1k", classes=IMAGENET_100),
}
NAMES = ("digits", *HUB_SETS)


@dataclass(frozen=True, kw_only=True)
class Rows:
    """One split before its images are decoded: its name, labels in 0..K-1, and a `datasets` image column."""

    name: str
    labels: Labels
    images: Any

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        """Say where each image lies, in words, and give what PIL opens: a path or a buffer."""
        tables = self.images.iter(batch_size=BATCH)
        for index, item in enumerate(item for table in tables for item in table.column(0).to_pylist()):
            path, data = (item or {}).get("path"), (item or {}).get("bytes")
            if path is not None and data is None:
                yield path, path
            else:
                yield f"in row {index} of the {self.name} split", io.BytesIO(data or b"")


def find(
    data: str | list[str], image_column: str | None, label_column: str | None
) -> tuple[list[Rows], tuple[str, ...]]:
    """Find a name of `HUB_SETS`, a hub id, a folder, or parquet files (one path or a list of paths).

    Returns the training split, the test split where there is one, and the K class names. Raises UserError
    where the data cannot be found, reached or read, or a column cannot be told.
    """
    known = HUB_SETS.get(data) if isinstance(data, str) else None
    local = known is None and _is_local(data)
    with _translated(data, local):
        return _labelled(_local(data) if local else _hub(str(data), known), known, image_column, label_column)


def encode(splits: Sequence[Sequence[Any]], names: Sequence[str]) -> tuple[list[Labels], tuple[str, ...]]:
    """Number the classes: ids into `names` where there are any, else the first split's values, sorted.

    Returns the labels of each split, int64 in 0..K-1, and the K names. Raises UserError for a missing label,
    an id without a name, and a label of a later split that the first lacks.
    """
    values = range(len(names)) if names else sorted({value for value in splits[0] if value is not None})
    index = {value: number for number, value in enumerate(values)}
    for split, labels in zip(("train", "test"), splits, strict=False):
        unknown = sorted({str(value) for value in labels if value not in index})
        if unknown:
            raise UserError(
                f"the {split} split has labels that are no class of training: {', '.join(unknown[:5])}; "
                "correct or remove those rows"
            )
    encoded = [np.array([index[value] for value in labels], dtype=np.int64) for labels in splits]
    return encoded, tuple(map(str, names or values))


def _is_local(data: str | list[str]) -> bool:
    """Tell paths from hub ids; raises UserError for a path that does not exist."""
    missing = [path for path in ([data] if isinstance(data, str) else data) if not Path(path).exists()]
    if not missing:
        return True
    if isinstance(data, str) and re.fullmatch(r"\w[\w.-]*/[\w.-]+(:[\w.-]+)?", data):
        return False
    near = difflib.get_close_matches(missing[0].lower(), NAMES, n=2)
    advice = f"did you mean {' or '.join(near)}?" if near else f"known names: {', '.join(NAMES)}"
    raise UserError(f"no such file or folder: {missing[0]}; {advice}")


@contextmanager
def _translated(data: str | list[str], local: bool) -> Iterator[None]:
    """Silence `datasets`, but for its bar on a download, and turn its errors into one line for the user."""
    import datasets
    import huggingface_hub
    from pyarrow import ArrowException  # type: ignore[import-untyped]

    loggers = [(module, module.get_verbosity()) for module in (datasets.logging, huggingface_hub.logging)]
    bars = not datasets.are_progress_bars_disabled()
    for module, _ in loggers:
        module.set_verbosity(logging.CRITICAL)
    if local or not sys.stderr.isatty():
        datasets.disable_progress_bars()
    try:
        yield
    except UserError:
        raise
    except (OSError, ValueError, datasets.exceptions.DatasetsError, ArrowException) as error:
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
    finally:
        for module, verbosity in loggers:
            module.set_verbosity(verbosity)
        if bars:
            datasets.enable_progress_bars()


def _hub(data: str, known: HubSet | None) -> dict[str, Any]:
    import datasets

    name, _, config = data.partition(":")
    hub = known or HubSet(id=name, config=config or None)
    notice(f"Reading {hub.id} from the Hugging Face hub, or its cache on this machine")
    return dict(datasets.load_dataset(hub.id, hub.config))


def _local(data: str | list[str]) -> dict[str, Any]:
    import datasets

    paths = [Path(path) for path in ([data] if isinstance(data, str) else data)]
    files = sorted(paths[0].rglob("*.parquet")) if paths[0].is_dir() else paths
    if not files:
        patterns = {name: _class_folders(folder) for name, folder in _split_folders(paths[0]).items()}
        options = {"data_files": patterns, "drop_labels": False, "streaming": True}
        return dict(datasets.load_dataset("imagefolder", **options))
    if any(path.suffix != ".parquet" for path in files):
        raise UserError(f"cannot read {paths[0]}: give a folder, .parquet files or an .npz file")
    splits: dict[str, list[str]] = {}
    for path in files:
        below = path.relative_to(paths[0]) if paths[0].is_dir() else Path(path.name)
        words = re.split(r"[^a-z]+", str(below).lower())
        split = next((name for name in (*TRAIN, *TEST) if name in words), "other")
        splits.setdefault(split, []).append(glob.escape(str(path)))
    if not splits.keys() & set(TRAIN):
        splits = {"train": sum(splits.values(), [])}
    return dict(datasets.load_dataset("parquet", data_files=splits, batch_size=BATCH, streaming=True))


def _split_folders(root: Path) -> dict[str, Path]:
    """The split sub-folders by name, or the folder itself as the training split where it has none.

    A split folder holds folders; one that holds images is a class that happens to bear such a name.
    """
    named = {path.name.lower(): path for path in root.iterdir() if path.name.lower() in (*TRAIN, *TEST)}
    splits = {name: path for name, path in named.items() if any(below.is_dir() for below in path.glob("*"))}
    return splits if splits.keys() & set(TRAIN) else {"train": root}


def _class_folders(folder: Path) -> str:
    classes = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not classes:
        raise UserError(f"{folder} holds neither parquet files nor one sub-folder of images per class")
    empty = next((path for path in classes if not any(file.is_file() for file in path.rglob("*"))), None)
    if empty is not None:
        raise UserError(f"class folder {empty} is empty; put images there or remove it")
    return f"{glob.escape(str(folder))}/*/**"


def _labelled(
    tables: dict[str, Any], known: HubSet | None, image_column: str | None, label_column: str | None
) -> tuple[list[Rows], tuple[str, ...]]:
    """Choose the splits and the columns, and number the classes."""
    import datasets

    train = next((name for name in TRAIN if name in tables), None)
    if train is None:
        raise UserError(f"no train split, only {', '.join(tables)}")
    features = tables[train].features
    image = _image_column(features, image_column)
    label = label_column or (known.label_column if known else None) or _label_column(tables[train])
    if not isinstance(features.get(label), datasets.ClassLabel | datasets.Value):
        raise UserError(f"no column of labels named {label}; give --label-column one of: {', '.join(features)}")
    labels = {train: _column(tables[train], label)}
    for name in (name for name in TEST if name in tables and len(labels) == 1):
        values = _column(tables[name], label)
        if set(values) - {None, -1}:  # a test split without labels holds -1 on the hub
            labels[name] = values
            if not name.startswith("test"):
                notice(f"There is no labelled test split: the {name} split is the test split")
    names: Sequence[str] = getattr(features[label], "names", ())
    if known is not None and known.classes is not None:
        tables, labels, names = _restricted(tables, labels, names, known.classes)
    encoded, class_names = encode(list(labels.values()), names)
    undecoded = datasets.Image(decode=False)
    images = [tables[name].select_columns([image]).cast_column(image, undecoded) for name in labels]
    rows = zip(labels, encoded, images, strict=True)
    return [Rows(name=name, labels=y, images=x.with_format("arrow")) for name, y, x in rows], class_names


def _restricted(
    tables: dict[str, Any], labels: dict[str, list[Any]], names: Sequence[str], classes: tuple[int, ...]
) -> tuple[dict[str, Any], dict[str, list[Any]], list[str]]:
    """Keep the rows of `classes` only and number these in the order given."""
    new = {old: number for number, old in enumerate(classes)}
    kept = {split: [row for row, label in enumerate(labels[split]) if label in new] for split in labels}
    tables = {split: tables[split].select(kept[split]) for split in labels}
    labels = {split: [new[labels[split][row]] for row in kept[split]] for split in labels}
    return tables, labels, [names[old] for old in classes]


def _image_column(features: dict[str, Any], given: str | None) -> str:
    """The column of images by its type: `datasets.Image`, else encoded bytes."""
    import datasets

    if given is not None:
        if given not in features:
            raise UserError(f"no column {given}; give --image-column one of: {', '.join(features)}")
        return given
    found = [name for name, feature in features.items() if isinstance(feature, datasets.Image)]
    found = found or [
        name
        for name, feature in features.items()
        if feature == datasets.Value("binary") or (isinstance(feature, dict) and "bytes" in feature)
    ]
    if len(found) != 1:
        raise UserError(f"cannot tell the images; give --image-column one of: {', '.join(found or features)}")
    return str(found[0])


def _label_column(table: Any) -> str:
    """The column of labels by its type: `ClassLabel`, else integers or strings with few distinct values."""
    import datasets

    found = [name for name, feature in table.features.items() if isinstance(feature, datasets.ClassLabel)]
    if not found:
        kinds = ("int", "uint", "string", "large_string", "bool")
        plain = [n for n, f in table.features.items() if str(getattr(f, "dtype", "")).startswith(kinds)]
        columns = {name: _column(table, name) for name in plain}
        found = [name for name, values in columns.items() if 2 * len(set(values)) <= max(len(values), 4)]
    if len(found) != 1:
        raise UserError(f"cannot tell the labels; give --label-column one of: {', '.join(found or table.features)}")
    return str(found[0])


def _column(table: Any, name: str) -> list[Any]:
    """All values of one column, read without the images."""
    batches = table.select_columns([name]).with_format("arrow").iter(batch_size=10_000)
    return [value for batch in batches for value in batch.column(0).to_pylist()]


def decode(splits: Sequence[Rows], size: int | None) -> list[Pixels]:
    """Decode the images of each split, uint8 N×C×H×W; a split has C = 1 if all its images are grey.

    Raises UserError for a damaged image, and where images differ in size and no `size` is given.
    """
    images: list[Pixels] = []
    for rows in splits:
        pixels: Pixels | None = None
        bar_of = progress(f"Reading {rows.name}", len(rows.labels), unit="images")
        with _translated(f"the {rows.name} split", local=True), bar_of as bar:
            for index, (where, file) in enumerate(rows):
                image = _pixels(where, file, size)
                if pixels is None:
                    pixels = np.empty((len(rows.labels), *image.shape), dtype=np.uint8)
                if image.shape[1:] != (images or [pixels])[0].shape[2:]:
                    raise _mixed_sizes(splits)
                if len(image) > pixels.shape[1]:  # the first colour after grey images only
                    pixels = np.repeat(pixels, 3, axis=1)
                pixels[index] = image
                bar.advance()
        if pixels is None:
            raise UserError(f"the {rows.name} split has no images")
        images.append(pixels)
    return images


def fit(image: Image.Image, size: int | None) -> Image.Image:
    """Resize the shorter side to `size` (bicubic, antialiased) and crop the centre to size×size."""
    if size is None or image.size == (size, size):
        return image
    return ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC)


@contextmanager
def _opened(where: str, file: Any) -> Iterator[Image.Image]:
    try:
        with Image.open(file) as image:
            yield image
    except Exception as error:  # a decoder may raise anything on damaged bytes
        reason = "not an image" if isinstance(error, UnidentifiedImageError) else error
        raise UserError(f"cannot read the image {where}: {reason}; replace or remove it") from error


def _pixels(where: str, file: Any, size: int | None) -> Pixels:
    """One image upright in 8 bits, C×H×W."""
    with _opened(where, file) as image:
        if size is not None:
            image.draft(image.mode, (2 * size, 2 * size))  # JPEG decodes large photographs at a fraction
        ImageOps.exif_transpose(image, in_place=True)
        array = np.asarray(fit(_eight_bit(image), size))
    return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)


def _eight_bit(image: Image.Image) -> Image.Image:
    """In mode L or RGB: 16-bit levels scaled, transparency laid on white."""
    if image.mode.startswith("I"):
        levels = np.asarray(image).astype(np.int64)
        if levels.min() < 0 or levels.max() > 65535:
            raise ValueError(f"its pixels range from {levels.min()} to {levels.max()}, beyond 16 bits")
        return Image.fromarray(((levels + 128) // 257).astype(np.uint8))
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers, not 8 or 16 bits")
    mode = "L" if image.mode in ("1", "L", "LA", "La") else "RGB"
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert(mode)


def _mixed_sizes(splits: Sequence[Rows]) -> UserError:
    """The error that tells the smallest and the largest image, by the headers of all."""
    sizes = set()
    with progress("Measuring the images", sum(len(rows.labels) for rows in splits), unit="images") as bar:
        for rows in splits:
            for where, file in rows:
                with _opened(where, file) as image:
                    turned = image.getexif().get(ExifTags.Base.Orientation, 1) >= 5
                    sizes.add(image.size[::-1] if turned else image.size)
                bar.advance()
    (w, h), (width, height) = (choose(sizes, key=lambda s: (s[0] * s[1], s)) for choose in (min, max))
    return UserError(
        f"the images differ in size, from {w}×{h} to {width}×{height} pixels; "
        "give --size N to resize and crop them all to N×N"
    )
