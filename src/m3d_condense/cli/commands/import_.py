"""``m3d import``: a set that other code has made, as a condensed set."""

from __future__ import annotations

from jsonargparse import ArgumentParser, Namespace

from m3d_condense.cli.command import Command
from m3d_condense.cli.flags import DATA_HELP, new_parser, quiet_flag, source_flags

IMPORT_HELP = (
    "Read a .pt file of public code as a condensed set, which m3d evaluate scores like any other: res_*.pt of DC, DSA, "
    "DM and IDM; data*.pt of IDC, DREAM, DANCE and NCFM; images_*.pt of MTT and DATM, with labels_*.pt beside it; and "
    "what m3d export --to pt writes. Nothing in the file is executed."
)


def declare() -> ArgumentParser:
    parser = new_parser(description=IMPORT_HELP)
    parser.add_argument("file", nargs="?", type=str, metavar="FILE", help="the .pt file")
    parser.add_argument("--data", type=str, help="the data set it was condensed from: " + DATA_HELP)
    parser.add_argument("--out", type=str, metavar="SET", help="folder to write")
    parser.add_argument("--overwrite", action="store_true", help="write over the condensed set in --out")
    meaning = (
        "what the values mean: none (of [0, 1]; others are clipped), the data set by whose constants they are "
        "normalised (mnist, fashion-mnist, svhn, cifar10, cifar100, imagenet), or zca (whitened; needs --data). Asked "
        "where the values do not tell"
    )
    parser.add_argument("--normalised", type=str, metavar="NAME", help=meaning)
    for name, what in (("--mean", "means"), ("--std", "deviations")):
        text = f"{what} that the values are normalised by, a number for each channel, in place of a name"
        parser.add_argument(name, type=float, nargs="+", metavar="X", help=text)
    parser.add_argument("--factor", type=int, metavar="N", help="each image holds NxN tiles")
    parser.add_argument(
        "--labels", type=str, metavar="FILE", help="file of the labels, where they lie in one of their own"
    )
    parser.add_argument("--hard-labels", action="store_true", help="take the likeliest class of soft labels alone")
    parser.add_argument(
        "--experiment", type=int, metavar="N", help="which set of a file of several (default: the first)"
    )
    source_flags(parser, classes="which classes the labels number, and in what order, of --data or without it")
    return quiet_flag(parser)


def run(given: Namespace) -> int:
    from m3d_condense.cli import importing

    return importing.run(given)


COMMAND = Command(summary="read a .pt file of public code as a condensed set", declare=declare, run=run)
