"""Where images come from: the hub, folders and parquet files, as tables of `datasets` with undecoded images.

Local files are read where they lie; data from the hub rests in the cache of `datasets`.
"""

from __future__ import annotations

import difflib
import glob
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from m3d_condense.data.pictures import BATCH, Labels, Rows, translated
from m3d_condense.data.raster import readable_endings
from m3d_condense.tools.errors import Setting, UserError
from m3d_condense.tools.progress import notice

TRAIN = ("train", "training")
TEST = ("test", "testing", "validation", "valid", "val")  # the first labelled one serves as test
HIDDEN = (".", "__")  # first letters of folders that are passed over: .git, __MACOSX

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
    """A data set of the hub.

    Attributes:
        id, config: of the hub.
        label_column: where it cannot be told by type.
        classes: the label ids that are kept, in order; None keeps all.
        mirrored: whether a mirrored image keeps its class.
    """

    id: str
    config: str | None = None
    label_column: str | None = None
    classes: tuple[int, ...] | None = None
    mirrored: bool = True


HUB_SETS = {
    "mnist": HubSet(id="ylecun/mnist", mirrored=False),
    "fashion-mnist": HubSet(id="zalando-datasets/fashion_mnist"),
    "svhn": HubSet(id="ufldl-stanford/svhn", config="cropped_digits", mirrored=False),
    "cifar10": HubSet(id="uoft-cs/cifar10"),
    "cifar100": HubSet(id="uoft-cs/cifar100", label_column="fine_label"),
    "imagenet-10": HubSet(id="ILSVRC/imagenet-1k", classes=IMAGENET_100[:10]),
    "imagenet-100": HubSet(id="ILSVRC/imagenet-1k", classes=IMAGENET_100),
}
NAMES = ("digits", *HUB_SETS)
UNMIRRORED = {"digits"} | {word for name, known in HUB_SETS.items() if not known.mirrored for word in (name, known.id)}
"""Names and hub ids of known data sets whose images change their meaning when they are mirrored."""


def find(
    data: str | list[str], image_column: str | None, label_column: str | None
) -> tuple[list[Rows], tuple[str, ...]]:
    """Find a name of `HUB_SETS`, a hub id, a folder, or parquet files (one path or a list of paths).

    Returns the training split, the test split where there is one, and the K class names. Raises UserError
    where the data cannot be found, reached or read, or a column cannot be told.
    """
    known = HUB_SETS.get(data) if isinstance(data, str) else None
    local = known is None and _is_local(data)
    with translated(data, local):
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
        return _folders(paths[0])
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
    named = {path.name.lower(): path for path in _visible(root) if path.name.lower() in (*TRAIN, *TEST)}
    splits = {name: path for name, path in named.items() if _visible(path)}
    return splits if splits.keys() & set(TRAIN) else {"train": root}


def _folders(root: Path) -> dict[str, Any]:
    """The splits of an image folder: the images of a class lie in the folder of its name, at any depth."""
    import datasets

    readable, outside = readable_endings(), "outside the class folders"
    splits = _split_folders(root)
    classes = {split: _class_folders(folder) for split, folder in splits.items()}
    names = sorted({folder.name for folders in classes.values() for folder in folders})
    if len(names) == 1:
        here = next(iter(classes.values()))[0]
        raise UserError(f"only one class ({names[0]}) in {root}; if its sub-folders are the classes, give {here}")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=names)})
    tables: dict[str, Any] = {}
    ignored: Counter[str] = Counter()
    for split, folders in classes.items():
        ignored[outside] += sum(path.is_file() and _kind(path) in readable for path in splits[split].iterdir())
        images: list[str] = []
        labels: list[str] = []
        for folder in folders:
            kinds = [(file, _kind(file)) for file in _files(folder)]
            found = [str(file) for file, kind in kinds if kind in readable]
            if not found and split in TRAIN:
                raise UserError(f"class folder {folder} holds no readable images; put some there or remove it")
            images += found
            labels += [folder.name] * len(found)
            ignored.update(kind for _, kind in kinds if kind not in readable)
        tables[split] = datasets.Dataset.from_dict({"image": images, "label": labels}, features=features)
    if ignored := +ignored:
        most = ", ".join(f"{count} {kind}" for kind, count in ignored.most_common(8))
        notice(f"Files ignored in {root}: {most}{', …' if len(ignored) > 8 else ''}")
    return tables


def _class_folders(folder: Path) -> list[Path]:
    """The folders of the classes; raises UserError where the sub-folders are none."""
    classes = _visible(folder)
    if not classes:
        raise UserError(f"{folder} holds neither parquet files nor one sub-folder of images per class")
    if all(path.name.lower() in (*TRAIN, *TEST) for path in classes):
        raise UserError(f"{classes[0]} holds no sub-folders; put the images of each class into one that bears its name")
    return classes


def _visible(folder: Path) -> list[Path]:
    """The sub-folders that are not hidden, sorted, links to folders included."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(HIDDEN))


def _files(top: Path) -> Iterator[Path]:
    """All files below, sorted within their folder; links to folders are followed, but none is entered twice."""

    def refuse(error: OSError) -> None:
        raise error

    entered = set()
    for folder, below, names in os.walk(top, onerror=refuse, followlinks=True):
        below[:] = sorted(name for name in below if not name.startswith(HIDDEN))
        real = Path(folder).resolve()
        if real in entered:
            below.clear()
            continue
        entered.add(real)
        yield from (Path(folder, name) for name in sorted(names))


def _kind(file: Path) -> str:
    """The end of the name in small letters, which tells images from others."""
    return "hidden" if file.name.startswith(".") else file.suffix.lower() or "without an ending"


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
        raise UserError(
            f"no column of labels named {label}; give {Setting('label_column')} one of: {', '.join(features)}"
        )
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
            raise UserError(f"no column {given}; give {Setting('image_column')} one of: {', '.join(features)}")
        return given
    found = [name for name, feature in features.items() if isinstance(feature, datasets.Image)]
    found = found or [
        name
        for name, feature in features.items()
        if feature == datasets.Value("binary") or (isinstance(feature, dict) and "bytes" in feature)
    ]
    if not found:
        raise UserError(f"no column of images or of encoded bytes, only: {', '.join(features)}")
    if len(found) > 1:
        raise UserError(f"cannot tell the images; give {Setting('image_column')} one of: {', '.join(found)}")
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
        raise UserError(
            f"cannot tell the labels; give {Setting('label_column')} one of: {', '.join(found or table.features)}"
        )
    return str(found[0])


def _column(table: Any, name: str) -> list[Any]:
    """All values of one column, read without the images."""
    batches = table.select_columns([name]).with_format("arrow").iter(batch_size=10_000)
    return [value for batch in batches for value in batch.column(0).to_pylist()]
