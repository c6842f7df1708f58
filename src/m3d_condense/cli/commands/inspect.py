"""``m3d inspect``: what a data set is read as."""

from __future__ import annotations

from jsonargparse import ArgumentParser, Namespace

from m3d_condense.cli.command import Command
from m3d_condense.cli.flags import data_argument, new_parser, quiet_flag, source_flags


def declare() -> ArgumentParser:
    parser = new_parser(description="Read a data set, print what it holds, and draw a few images of each class.")
    data_argument(parser)
    where = "picture to draw (default: DATA-contact-sheet.png in the current folder)"
    parser.add_argument("--out", type=str, metavar="FILE", help=where)
    parser.add_argument("--json", action="store_true", help="print JSON in place of text")
    source_flags(parser)
    return quiet_flag(parser)


def run(given: Namespace) -> int:
    from m3d_condense.cli import inspecting

    return inspecting.run(given)


COMMAND = Command(summary="show what a data set is read as, without condensing it", declare=declare, run=run)
