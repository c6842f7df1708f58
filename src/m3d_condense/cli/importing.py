"""``m3d import``: a file of public code, and the data set it is of, as a condensed set."""

from __future__ import annotations

from pathlib import Path

from jsonargparse import Namespace

from m3d_condense.cli.settings import load_data
from m3d_condense.scoring import fitted
from m3d_condense.sets.condensed import CondensedSet
from m3d_condense.sets.folder import is_condensed_set
from m3d_condense.sets.importing import Real, import_set
from m3d_condense.sets.layouts import Content, read_layout
from m3d_condense.sets.values import Pixels
from m3d_condense.tools.errors import Setting, UserError
from m3d_condense.tools.progress import notice


def run(given: Namespace) -> int:
    """Read the file, load the data, and store the set."""
    file, out = _places(given)
    pixels = Pixels(reading=given.normalised, mean=_numbers(given.mean), std=_numbers(given.std))
    content = read_layout(file, None if given.labels is None else Path(given.labels), given.experiment)
    real = _real(given, content, file)
    condensed = import_set(content, file, real, pixels=pixels, factor=given.factor, hard_labels=given.hard_labels)
    condensed.save(out)
    tiles = f", each of {condensed.factor}×{condensed.factor} tiles" if condensed.factor > 1 else ""
    count, classes = len(condensed.images), condensed.num_classes
    notice(
        f"{count:,} images{tiles}, of {classes:,} classes, read as {condensed.settings['pixels']}; look at "
        f"{out / 'preview.png'}, score with: m3d evaluate {out}" + (" --data DATA" if given.data is None else "")
    )
    print(out)
    return 0


def _places(given: Namespace) -> tuple[Path, Path]:
    """Return the file and the folder to write, both checked before anything takes long."""
    if given.file is None:
        raise UserError("no file given; name a .pt file of public code")
    if not Path(given.file).is_file():
        raise UserError(f"{given.file}: no such file")
    if given.out is None:
        raise UserError("say where to write the set", setting="out")
    out = Path(given.out)
    CondensedSet.check_target(out)
    if is_condensed_set(out) and not given.overwrite:
        raise UserError(f"{out} holds a condensed set; give another name, or {Setting('overwrite', True)}")
    return Path(given.file), out


def _real(given: Namespace, content: Content, file: Path) -> Real:
    """Return what is known of the data set that a file was condensed from."""
    names = given.classes if given.classes is not None else content.class_names
    if given.data is None:
        if names is None:
            known = f"{Setting('data', 'DATA')} says what it is of, or {Setting('classes', 'NAME…')} names them"
            raise UserError(f"{file} does not name its classes: {known}")
        return Real(class_names=tuple(names), source={"data": None})
    if given.classes is not None:
        raise UserError("the data set names its classes itself", setting="classes", value=" ".join(given.classes))
    height, width = content.images.shape[2:]
    dataset = fitted(load_data(given, given.data), height if height == width else None)
    if dataset.train.images.shape[1:] != content.images.shape[1:]:
        ours, theirs = tuple(dataset.train.images.shape[1:]), tuple(content.images.shape[1:])
        raise UserError(f"{file} holds images of {theirs}, and {dataset.name} of {ours}; it is of another data set")
    return Real(
        class_names=dataset.class_names,
        mean=dataset.mean,
        std=dataset.std,
        images=dataset.train.images,
        source=dataset.source | {"name": dataset.name, "fingerprint": dataset.fingerprint},
    )


def _numbers(values: list[float] | None) -> tuple[float, ...] | None:
    return None if values is None else tuple(values)
