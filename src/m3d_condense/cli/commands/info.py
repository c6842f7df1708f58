"""``m3d info``: what this machine offers, and what there is by name; or what condensed sets hold."""

from __future__ import annotations

from jsonargparse import ArgumentParser, Namespace

from m3d_condense.cli.command import Command
from m3d_condense.cli.flags import execution_flags, new_parser
from m3d_condense.cli.settings import execution
from m3d_condense.tools.errors import UserError


def declare() -> ArgumentParser:
    text = "Show what this machine offers, what would be used, and what there is; or what condensed sets hold."
    parser = new_parser(description=text)
    sets = "folders of condensed sets, or their ids on the hub, to show in place of the machine"
    parser.add_argument("sets", nargs="*", default=[], metavar="SET", help=sets)
    parser.add_argument("--json", action="store_true", help="print JSON, of sets only")
    return execution_flags(parser)


def run(given: Namespace) -> int:
    if given.sets:
        from m3d_condense.cli.showing import print_sets

        print_sets(given.sets, given.json)
        return 0
    if given.json:
        raise UserError("goes with SET only", setting="json", value=True)
    from m3d_condense.cli.tables import print_info
    from m3d_condense.machine.engine import Engine

    print_info(Engine(execution(given)))
    return 0


COMMAND = Command(
    summary="show the versions, the hardware, and what there is by name; or what a condensed set holds",
    declare=declare,
    run=run,
)
