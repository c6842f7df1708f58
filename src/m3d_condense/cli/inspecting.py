"""``m3d inspect``: what a data set is read as, printed, and drawn as a sheet of a few images of each class."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import Namespace
from PIL import Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from m3d_condense.cli.settings import load_data
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.data.inspection import Inspection, Levels, examples, inspect
from m3d_condense.machine.memory import readable
from m3d_condense.sets.preview import preview
from m3d_condense.tools.errors import UserError
from m3d_condense.tools.files import check_file, write_file
from m3d_condense.tools.locks import check_writable
from m3d_condense.tools.places import check_outside_data
from m3d_condense.tools.progress import recorded
from m3d_condense.tools.text import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

EXAMPLES = 8  # images of each class on the sheet
MOST_CLASSES = 40  # printed one by one
NAME_WIDTH = 40  # characters of a class name that are printed
MARK = ("Software", "m3d inspect")  # in the sheet, by which one may be replaced


def run(given: Namespace) -> int:
    """Load the data, draw the sheet, and print what there is."""
    if given.out is not None:
        _check_target(Path(given.out))
    with recorded() as notices:
        dataset = load_data(given, given.data)
    out = Path(given.out) if given.out is not None else _beside(dataset)
    _check_target(out)
    check_outside_data(out, dataset.source.get("data"))
    _draw(dataset, out)
    seen = inspect(dataset, notices)
    if given.json:
        print(json.dumps(asdict(seen) | {"sheet": str(out)}, indent=2))
    else:
        print(*_lines(seen), shown(f"sheet        {out}"), sep="\n")
    return 0


def _beside(dataset: ImageDataset) -> Path:
    """Return the sheet's default path: in the current folder, or beside the data where that lies in them."""
    data, folder = dataset.source.get("data"), Path()
    if isinstance(data, str) and Path(data).is_dir() and Path.cwd().resolve().is_relative_to(Path(data).resolve()):
        folder = Path(data).resolve().parent
    return folder / f"{dataset.name}-contact-sheet.png"


def _check_target(out: Path) -> None:
    """Raise UserError for what is no name of a PNG, and for a file that was not drawn here."""
    if out.suffix.lower() != ".png":
        raise UserError("the sheet is a PNG: end its name in .png", setting="out", value=out)
    check_file(out, "contact sheet", _is_sheet, overwrite=True)
    check_writable(out)


def _is_sheet(file: Path) -> bool:
    try:
        with Image.open(file, formats=("PNG",)) as picture:
            return bool(picture.info.get(MARK[0]) == MARK[1])
    except (OSError, UnidentifiedImageError, ValueError):
        return False


def _draw(dataset: ImageDataset, out: Path) -> None:
    few = examples(dataset, EXAMPLES)
    mark = PngInfo()
    mark.add_text(*MARK)
    with write_file(out) as new:
        preview(few.images, few.labels, dataset.class_names).save(new, format="PNG", pnginfo=mark)


def _lines(seen: Inspection) -> list[str]:
    """Say what was seen, a fact a line, then the classes and the notices."""
    train, test = sum(seen.counts["train"]), sum(seen.counts["test"])
    lines = [
        f"name         {seen.name}",
        f"images       {train:,} to train on, {test:,} to test on, of {len(seen.classes):,} classes",
        f"size         {seen.width}×{seen.height} pixels, {seen.mode}, {readable(seen.nbytes)} in memory",
        *(f"levels       {name}: {_levels(levels)}" for name, levels in seen.levels.items()),
        f"mirrored     {'images may be mirrored' if seen.mirrored else 'a mirrored image means something else'}",
        f"fingerprint  {seen.fingerprint}",
        *_classes(seen),
        *(f"notice       {message}" for message in seen.notices),
    ]
    return [shown(line).rstrip() for line in lines]


def _levels(levels: Sequence[Levels]) -> str:
    return ", ".join(f"{one.channel} {one.least} to {one.greatest} (mean {one.mean:.1f})" for one in levels)


def _classes(seen: Inspection) -> list[str]:
    """Return a line for each of the first classes with its counts, and one for the rest."""
    names = [_short(name) for name in seen.classes[:MOST_CLASSES]]
    width = max(map(len, names))
    rows = zip(names, seen.counts["train"], seen.counts["test"], strict=False)
    lines = [f"class        {name:{width}}  {train:>8,} {test:>8,}" for name, train, test in rows]
    left = len(seen.classes) - len(names)
    rest = [f"             and {left:,} more classes, of which --json tells all"] if left else []
    return [f"             {'':{width}}  {'train':>8} {'test':>8}", *lines, *rest]


def _short(name: str) -> str:
    return shown(name, NAME_WIDTH)
