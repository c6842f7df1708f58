"""``m3d import``: a file of public code, and the data set it is of, as a condensed set."""

from __future__ import annotations

import functools
import shlex
from pathlib import Path

from jsonargparse import Namespace

from m3d_condense.cli.settings import classes, load_data, refuse_source_flags
from m3d_condense.cli.streams import as_shown
from m3d_condense.data.classes import asked_for
from m3d_condense.sets.condensed import CondensedSet
from m3d_condense.sets.folder import is_condensed_set
from m3d_condense.sets.importing import Real, import_set
from m3d_condense.sets.layouts import Content, read_layout
from m3d_condense.sets.source import fitted
from m3d_condense.sets.values import Meaning
from m3d_condense.tools.errors import Setting, UserError
from m3d_condense.tools.locks import alone
from m3d_condense.tools.progress import notice


def run(given: Namespace) -> int:
    """Read the file, load the data, and store the set; no other process writes there meanwhile."""
    file, out = _places(given)
    with alone(out):
        return _import(given, file, out)


def _import(given: Namespace, file: Path, out: Path) -> int:
    pixels = Meaning(reading=given.normalised, mean=_numbers(given.mean), std=_numbers(given.std))
    content = read_layout(file, None if given.labels is None else Path(given.labels), given.experiment)
    names = _classes(given, content, file)
    real = functools.cache(functools.partial(_real, given, content, file, names))
    condensed = import_set(content, file, real, pixels=pixels, factor=given.factor, hard_labels=given.hard_labels)
    condensed.save(out)
    tiles = f", each of {condensed.factor}×{condensed.factor} tiles" if condensed.factor > 1 else ""
    count, named = len(condensed.images), condensed.num_classes
    score = f"m3d evaluate {shlex.quote(str(out))}" + (" --data DATA" if given.data is None else "")
    notice(
        f"{count:,} images{tiles}, of {named:,} classes, read as {condensed.settings['pixels']}; look at "
        f"{out / 'preview.png'}, score with: {score}"
    )
    print(as_shown(str(out)))
    return 0


def _places(given: Namespace) -> tuple[Path, Path]:
    """Return the file and the folder to write, both checked before anything takes long."""
    if given.file is None:
        raise UserError("no file given; name a .pt file of public code")
    if is_condensed_set(Path(given.file)):
        raise UserError(f"{given.file} is a condensed set already; name a .pt file of public code")
    if Path(given.file).is_dir():
        raise UserError(f"{given.file} is a folder; name a .pt file of public code")
    if not Path(given.file).is_file():
        raise UserError(f"{given.file}: no such file")
    if given.out is None:
        raise UserError("say where to write the set", setting="out")
    out = Path(given.out)
    CondensedSet.check_target(out)
    if is_condensed_set(out) and not given.overwrite:
        raise UserError(f"{out} holds a condensed set; give another name, or {Setting('overwrite', True)}")
    return Path(given.file), out


def _classes(given: Namespace, content: Content, file: Path) -> tuple[str, ...]:
    """Return the names of the classes, as far as they are known before the data set is read; none with that."""
    if given.data is not None:
        return ()
    refuse_source_flags(given, str(Setting("data", "DATA")), but=["classes"])
    asked = asked_for(classes(given))
    names = content.class_names if asked is None else asked
    if names is None:
        known = f"{Setting('data', 'DATA')} says what it is of, or {Setting('classes', 'NAME…')} names them"
        raise UserError(f"{file} does not name its classes: {known}")
    return tuple(names)


def _real(given: Namespace, content: Content, file: Path, names: tuple[str, ...]) -> Real:
    """Return what is known of the data set that a file was condensed from, of which `names` are known already."""
    if given.data is None:
        return Real(class_names=names, source={"data": None})
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
        source=dataset.known_source,
    )


def _numbers(values: list[float] | None) -> tuple[float, ...] | None:
    return None if values is None else tuple(values)
