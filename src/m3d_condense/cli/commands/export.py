"""``m3d export``: a condensed set in the files of other tools."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import ArgumentParser, Namespace

from m3d_condense.cli.command import Command
from m3d_condense.cli.flags import DATA_HELP, new_parser, quiet_flag, set_argument
from m3d_condense.cli.streams import as_shown
from m3d_condense.tools.errors import UserError
from m3d_condense.tools.progress import notice

if TYPE_CHECKING:
    from m3d_condense.cli.finding import Found

SCRIPT = "script"  # what is no form of the images
EXPORT_HELP = (
    "Write a condensed set in another form: png (a folder of images a class), npz (arrays for numpy), parquet (a table "
    "that datasets and pandas read), webdataset (a tar) or pt (tensors for torch.load). The images are decoded and "
    "rounded to 8 bits; in pt they are not rounded. The form script is a program of plain PyTorch that trains on the "
    "set as it was last scored; the test images that it reads lie beside it, as NAME-test.safetensors."
)


def declare() -> ArgumentParser:
    parser = new_parser(description=EXPORT_HELP)
    set_argument(parser)
    parser.add_argument("--to", type=str, metavar="FORM", help="png, npz, parquet, webdataset, pt or script")
    parser.add_argument("--out", type=str, metavar="PATH", help="file to write; a folder for png")
    parser.add_argument(
        "--stored", action="store_true", help="write the images as they are stored, tiles and all; not for script"
    )
    parser.add_argument("--overwrite", action="store_true", help="write over an older export of this form in --out")
    tested = "for script: test on this data set, not on the set's own source: " + DATA_HELP
    parser.add_argument("--data", type=str, help=tested)
    return quiet_flag(parser)


def run(given: Namespace) -> int:
    from m3d_condense.cli.finding import need

    _check(given)
    found, out = need(given.set), Path(given.out)
    write = _script if given.to == SCRIPT else _form
    notice(write(found, out, given))
    print(as_shown(str(out)))
    return 0


def _check(given: Namespace) -> None:
    """Raise `UserError` for flags that are missing, or do not go together."""
    from m3d_condense.sets.exporting import FORMS

    if given.to != SCRIPT and given.to not in FORMS:
        texts = {name: form.text for name, form in FORMS.items()} | {SCRIPT: "a file of Python that trains on it"}
        forms = ", ".join(f"{name} ({text})" for name, text in texts.items())
        asked = f"say which form: {forms}" if given.to is None else f"one of {forms}"
        raise UserError(asked, setting="to", value=given.to)
    if given.out is None:
        raise UserError("say where to write it", setting="out")
    if given.to == SCRIPT and given.stored:
        raise UserError("a script decodes the images itself", setting="stored")
    if given.data is not None and given.to != SCRIPT:
        raise UserError("goes with a script, which holds test images, only", setting="data", value=given.data)


def _form(found: Found, out: Path, given: Namespace) -> str:
    """Export the images of a set, and return what was written."""
    from m3d_condense.sets.condensed import CondensedSet
    from m3d_condense.sets.exporting import check_export, export

    check_export(out, given.to, overwrite=given.overwrite)
    condensed = CondensedSet.load(found.folder)
    export(condensed, out, given.to, stored=given.stored, overwrite=given.overwrite)
    tiles = 1 if given.stored else condensed.factor**2
    kind = "as stored" if given.stored else "decoded"
    return f"{len(condensed.images) * tiles:,} images, {kind}, of {condensed.num_classes:,} classes"


def _script(found: Found, out: Path, given: Namespace) -> str:
    """Write the training on a set as plain PyTorch, and return what was written."""
    from m3d_condense.fitting import export_script
    from m3d_condense.sets.condensed import CondensedSet

    condensed = CondensedSet.load(found.folder)
    export_script(condensed, found.folder, out, given.data, overwrite=given.overwrite)
    labels = "" if condensed.soft_labels is None else ", trains on the soft labels"
    reads = f"reads {found.folder} and the test images beside it"
    return f"it needs torch and safetensors, {reads}{labels}; run it with: python {shlex.quote(str(out))}"


COMMAND = Command(summary="write a condensed set as images, arrays, a table or tensors", declare=declare, run=run)
