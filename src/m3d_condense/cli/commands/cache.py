"""``m3d cache``: what is kept between runs."""

from __future__ import annotations

from typing import Literal

from jsonargparse import ArgumentParser, Namespace

from m3d_condense.cli.command import Command
from m3d_condense.cli.flags import new_parser, quiet_flag


def declare() -> ArgumentParser:
    text = "List or remove decoded images, trained networks and compiled code, which spare work in later runs."
    where = "M3D_CACHE says where they are kept, M3D_CACHE_LIMIT how many GiB of images."
    parser = new_parser(description=f"{text} {where}")
    parser.add_argument(
        "action", type=Literal["list", "remove"], nargs="?", default="list", help="list, or remove (default: list)"
    )
    parser.add_argument("names", nargs="*", default=[], metavar="NAME", help="as listed, or a kind such as images")
    parser.add_argument("--all", action="store_true", help="remove all")
    return quiet_flag(parser)


def run(given: Namespace) -> int:
    from m3d_condense.cli import caching

    return caching.run(given)


COMMAND = Command(summary="list or remove what is kept between runs", declare=declare, run=run)
