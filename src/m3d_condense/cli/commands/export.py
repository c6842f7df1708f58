"""``m3d export``: a condensed set in the files of other tools."""

from __future__ import annotations

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from m3d_condense.cli.command import Command
from m3d_condense.cli.flags import new_parser, quiet_flag, set_argument
from m3d_condense.cli.streams import as_shown
from m3d_condense.tools.errors import UserError
from m3d_condense.tools.progress import notice

EXPORT_HELP = (
    "Write a condensed set in another form: png (a folder of images a class), npz (arrays for numpy), parquet (a table "
    "that datasets and pandas read), webdataset (a tar) or pt (tensors for torch.load). The images are decoded and "
    "rounded to 8 bits; in pt they are not rounded."
)


def declare() -> ArgumentParser:
    parser = new_parser(description=EXPORT_HELP)
    set_argument(parser)
    parser.add_argument("--to", type=str, metavar="FORM", help="png, npz, parquet, webdataset or pt")
    parser.add_argument("--out", type=str, metavar="PATH", help="file to write; a folder for png")
    parser.add_argument("--stored", action="store_true", help="write the images as they are stored, tiles and all")
    parser.add_argument("--overwrite", action="store_true", help="write over an older export of this form in --out")
    return quiet_flag(parser)


def run(given: Namespace) -> int:
    from m3d_condense.cli.finding import need
    from m3d_condense.sets.condensed import CondensedSet
    from m3d_condense.sets.exporting import FORMS, check_export, export
    from m3d_condense.tools.files import check_name

    if given.to not in FORMS:
        forms = ", ".join(f"{name} ({form.text})" for name, form in FORMS.items())
        raise UserError(
            f"say which form: {forms}" if given.to is None else f"one of {forms}", setting="to", value=given.to
        )
    if given.out is None:
        raise UserError("say where to write it", setting="out")
    found, out = need(given.set), Path(given.out)
    check_name(out)
    if found.folder.resolve() in (out.resolve(), *out.resolve().parents):
        raise UserError("lies in the set itself; name another place", setting="out", value=out)
    check_export(out, given.to, overwrite=given.overwrite)
    condensed = CondensedSet.load(found.folder)
    export(condensed, out, given.to, stored=given.stored, overwrite=given.overwrite)
    tiles = 1 if given.stored else condensed.factor**2
    kind = "as stored" if given.stored else "decoded"
    notice(f"{len(condensed.images) * tiles:,} images, {kind}, of {condensed.num_classes:,} classes")
    print(as_shown(str(out)))
    return 0


COMMAND = Command(summary="write a condensed set as images, arrays, a table or tensors", declare=declare, run=run)
