"""``m3d completion``: what a shell reads to complete commands and flags."""

from __future__ import annotations

from typing import Literal

from jsonargparse import ArgumentParser, Namespace

from m3d_condense.cli.command import Command
from m3d_condense.cli.flags import new_parser, quiet_flag


def declare() -> ArgumentParser:
    text = "Print a script by which a shell completes commands, flags, names of methods and paths; needs shtab."
    parser = new_parser(description=f'{text} In bash: eval "$(m3d completion bash)"')
    shells = Literal["bash", "zsh", "fish", "tcsh"]
    parser.add_argument("shell", type=shells, nargs="?", help="bash, zsh, fish or tcsh")
    return quiet_flag(parser)


def run(given: Namespace) -> int:
    from m3d_condense.cli import completing

    print(completing.script(given.shell))
    return 0


COMMAND = Command(summary="print a script by which a shell completes commands and flags", declare=declare, run=run)
