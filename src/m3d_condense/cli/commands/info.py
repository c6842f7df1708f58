"""``m3d info``: what this machine offers, and what there is by name."""

from __future__ import annotations

from jsonargparse import ArgumentParser, Namespace

from m3d_condense.cli.command import Command
from m3d_condense.cli.flags import execution_flags, new_parser
from m3d_condense.cli.settings import execution


def declare() -> ArgumentParser:
    return execution_flags(
        new_parser(description="Show what this machine offers, what would be used, and what there is.")
    )


def run(given: Namespace) -> int:
    from m3d_condense.cli.tables import print_info
    from m3d_condense.machine.engine import Engine

    print_info(Engine(execution(given)))
    return 0


COMMAND = Command(
    summary="show the versions, the hardware, and the names of methods, protocols and networks",
    declare=declare,
    run=run,
)
