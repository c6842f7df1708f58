"""The command line: parse, call, print. Torch is imported only once a command needs it."""

from __future__ import annotations

import errno
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

from jsonargparse import Namespace

from m3d_condense.cli import streams
from m3d_condense.cli.arguments import parse
from m3d_condense.cli.command import Command
from m3d_condense.cli.commands import COMMANDS
from m3d_condense.cli.streams import complain
from m3d_condense.cli.wording import flag
from m3d_condense.machine.group import ALONE, Group, working_in
from m3d_condense.machine.joining import process_group
from m3d_condense.machine.memory import ran_out, too_little
from m3d_condense.machine.process import wait_politely
from m3d_condense.tools.errors import Setting, UserError, wording
from m3d_condense.tools.progress import set_quiet

OWN_TO_A_MACHINE = {"data", "data_root", "sets", "out", "start_from", "config", "device", "memory", "quiet", "json"}
"""Settings in which processes may differ: places, and what the first alone goes by."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status: 0, 1 (the system's fault), 2 (the user's) or 130.

    Of processes that torchrun has started, the first alone prints, and of what goes wrong alike in several, one tells.
    What they cannot share, the first does, and the others wait for it.
    """
    wait_politely()
    streams.prepare()
    with wording(flag):
        status = _guarded(sys.argv[1:] if argv is None else argv)
    streams.settle()
    return status


def _guarded(argv: Sequence[str]) -> int:
    """Run the command, and turn what goes wrong into one line and an exit status."""
    try:
        status = _run(argv)
        sys.stdout.flush()
        return status
    except UserError as error:
        return complain(str(error), 2)
    except KeyboardInterrupt:
        return complain("interrupted", 130)
    except SystemExit as end:  # another process has said why
        return int(end.code or 0)
    except BrokenPipeError:
        return 1
    except OSError as error:
        hint = "; free some space and run the same command again" if error.errno == errno.ENOSPC else ""
        return complain(f"{error}{hint}", 1)
    except (MemoryError, RuntimeError) as error:
        if not ran_out(error):
            raise
        return complain(too_little(), 1)


def _run(argv: Sequence[str]) -> int:
    try:
        asked = parse(argv)
    except SystemExit as end:  # the help or the version that was asked for is printed
        return int(end.code or 0)
    except UserError:
        set_quiet(True)
        with process_group():  # all processes were given it, and one is to tell
            raise
    if asked is None:
        return 2
    command, given = asked
    set_quiet(given.quiet)
    with process_group() as group:
        if not group.leads:
            set_quiet(True)
        try:
            from m3d_condense.cli.caching import check_environment

            check_environment()
            group.check_same(lambda: _told(command, given))
            with nullcontext() if group.leads else streams.muted():
                return carry_out(COMMANDS[command], given, group)
        except SystemExit as end:
            if isinstance(end.__context__, BrokenPipeError):  # rich's way to say that the reader has left
                raise end.__context__ from None
            raise UserError(f"code that was imported ended the program: sys.exit({end.code!r})") from None


def _told(command: str, given: Namespace) -> dict[str, Any]:
    """Return what all processes are to be told alike, by name."""
    flags = {str(Setting(name)): value for name, value in given.items() if name not in OWN_TO_A_MACHINE}
    return {"the command": command} | flags


def carry_out(command: Command, given: Namespace, group: Group) -> int:
    """Run a command in all processes of a group; or where they do not share its work, in the first as if alone."""

    def by_itself() -> int:
        with working_in(ALONE):
            return command.run(given)

    return command.run(given) if command.shared else group.by_first(by_itself)
