"""``m3d export``: a condensed set in the files of other tools."""

from __future__ import annotations

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from m3d_condense.cli.command import Command
from m3d_condense.cli.flags import DATA_HELP, new_parser, quiet_flag, set_argument
from m3d_condense.tools.errors import Setting, UserError
from m3d_condense.tools.progress import notice

SCRIPT = "script"
EXPORT_HELP = (
    "Write a condensed set in another form: png (a folder of images a class), npz (arrays for numpy), parquet (a table "
    "that datasets and pandas read), webdataset (a tar) or pt (tensors for torch.load). The images are decoded and "
    "rounded to 8 bits; in pt they are not rounded. The form script is a train.py of plain PyTorch that trains on the "
    "set as it was last scored, with the test images that it reads beside it."
)


def declare() -> ArgumentParser:
    parser = new_parser(description=EXPORT_HELP)
    set_argument(parser)
    parser.add_argument("--to", type=str, metavar="FORM", help="png, npz, parquet, webdataset, pt or script")
    parser.add_argument("--out", type=str, metavar="PATH", help="file to write; a folder for png")
    tested = "for script: test on this data set, not on the set's own source: " + DATA_HELP
    parser.add_argument("--data", type=str, help=tested)
    parser.add_argument("--stored", action="store_true", help="write the images as they are stored, tiles and all")
    parser.add_argument("--overwrite", action="store_true", help="write over an older export of this form in --out")
    return quiet_flag(parser)


def run(given: Namespace) -> int:
    from m3d_condense.cli.finding import need
    from m3d_condense.sets.condensed import CondensedSet
    from m3d_condense.sets.exporting import FORMS, check_export, export

    if given.to not in (*FORMS, SCRIPT):
        forms = ", ".join(f"{name} ({form.text})" for name, form in FORMS.items()) + f", {SCRIPT} (a train.py)"
        raise UserError(
            f"say which form: {forms}" if given.to is None else f"one of {forms}", setting="to", value=given.to
        )
    if given.out is None:
        raise UserError("say where to write it", setting="out")
    found, out = need(given.set), Path(given.out)
    if found.folder.resolve() in (out.resolve(), *out.resolve().parents):
        raise UserError("lies in the set itself; name another place", setting="out", value=out)
    if given.to == SCRIPT:
        return _write_script(given, found.folder, out)
    if given.data is not None:
        raise UserError(f"goes with {Setting('to', SCRIPT)} only", setting="data", value=given.data)
    check_export(out, given.to, overwrite=given.overwrite)
    condensed = CondensedSet.load(found.folder)
    export(condensed, out, given.to, stored=given.stored, overwrite=given.overwrite)
    tiles = 1 if given.stored else condensed.factor**2
    kind = "as stored" if given.stored else "decoded"
    notice(f"{len(condensed.images) * tiles:,} images, {kind}, of {condensed.num_classes:,} classes")
    print(out)
    return 0


def _write_script(given: Namespace, folder: Path, out: Path) -> int:
    from m3d_condense.fitting import export_script
    from m3d_condense.sets.condensed import CondensedSet

    if given.stored:
        raise UserError("a script decodes the images itself", setting="stored")
    export_script(CondensedSet.load(folder), folder, out, given.data, overwrite=given.overwrite)
    notice(f"run it with: python {out}")
    print(out)
    return 0


COMMAND = Command(summary="write a condensed set as images, arrays, a table or tensors", declare=declare, run=run)
