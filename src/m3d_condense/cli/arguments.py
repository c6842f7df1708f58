"""How a command's settings are read from its flags and from a configuration file."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from m3d_condense.cli.commands import COMMANDS
from m3d_condense.cli.completing import script
from m3d_condense.cli.config import Config, apply, read
from m3d_condense.cli.flags import new_parser
from m3d_condense.cli.wording import mistakes_worded
from m3d_condense.recipes.recipe import MOST, SEED_LEAST, SEED_MOST
from m3d_condense.tools.errors import Setting, UserError
from m3d_condense.tools.versions import OWN, __version__


def parse(arguments: Sequence[str]) -> tuple[str, Namespace] | None:
    """Return the command and its settings; None, after printing the help, where nothing is asked.

    Raises:
        UserError: for a flag, a value or a configuration file that is not understood.
        SystemExit: after printing what ``--help``, ``--version`` or ``--print-completion`` asks for.
    """
    _check_blank(arguments)
    parser, commands = _parser(arguments[:1])
    if not arguments:
        parser.print_help()
        return None
    _check_once(arguments)
    with mistakes_worded():
        found = _configure(arguments, commands)
        parsed = parser.parse_args(list(arguments))
    given = parsed[parsed.subcommand]
    if found is not None and found.code is not None and given.network is None:
        own = Setting("network", found.code)
        raise UserError(f"--config {found.path}: its network is code, which no set may import; give {own} yourself")
    for name, value in given.items():
        _check_whole(name, value)
    return parsed.subcommand, given


def _check_blank(arguments: Sequence[str]) -> None:
    """Raise `UserError` for an empty value, such as that of a shell's unset variable: as a path it is where one is."""
    for before, text in zip(("", *arguments), arguments, strict=False):
        flag, equals, value = text.partition("=")
        blank = not text.strip() or (flag.startswith("--") and equals and not value.strip())
        if blank:
            named = next((one for one in (flag, before) if one.startswith("--")), "")
            raise UserError(f"{named}{': ' if named else ''}an empty value; is a variable of the shell not set?")


def _check_once(arguments: Sequence[str]) -> None:
    """Raise `UserError` where a flag whose values nobody means to replace is given twice: only the last would count."""
    given = Counter(text.partition("=")[0] for text in arguments if text.startswith("--"))
    for flag, advice in (("--config", "give one file"), ("--vary", "give all settings behind one")):
        if given[flag] > 1:
            raise UserError(f"{flag} is given twice: {advice}")


def _configure(arguments: Sequence[str], commands: Mapping[str, ArgumentParser]) -> Config | None:
    """Make the settings of ``--config``, if that is given, the defaults of its command, before flags are read."""
    finder = argparse.ArgumentParser(add_help=False, exit_on_error=False, allow_abbrev=False)
    for name in ("config", "method", "preset"):
        finder.add_argument(f"--{name}")
    given = finder.parse_known_args(list(arguments))[0]
    command = commands.get(arguments[0])
    if given.config is None or command is None or not any(action.dest == "config" for action in command._actions):
        return None
    found = read(Path(given.config), sets=arguments[0] == "condense").under(given.method, given.preset)
    apply(found, command)
    return found


def _check_whole(name: str, value: Any) -> None:
    """Raise `UserError` for a whole number that no seed, or no count, can be."""
    most = SEED_MOST if name.endswith("seed") else MOST
    for number in value if isinstance(value, list) else [value]:
        if isinstance(number, int) and not SEED_LEAST <= number <= most:
            raise UserError(f"at most {most}" if number > 0 else f"at least {SEED_LEAST}", setting=name, value=number)


class _Completion(argparse.Action):
    """Prints what a shell reads, and exits."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: Any, values: Any, option: str | None = None) -> None:
        whole, commands = _parser(COMMANDS)
        print(script(values, whole, commands.values()))
        parser.exit()


def _parser(wanted: Collection[str]) -> tuple[ArgumentParser, dict[str, ArgumentParser]]:
    """Return the parser of all, and those of the commands; of these only those that are wanted know their flags."""
    parser = new_parser(prog="m3d", description="A few synthetic images per class in place of a whole data set.")
    parser.add_argument("--version", action="version", version=f"{OWN} {__version__}", help="show the version and exit")
    completion = "print what a shell (bash, zsh, fish, tcsh) reads to complete commands and flags, by shtab, and exit"
    parser.add_argument("--print-completion", action=_Completion, metavar="SHELL", help=completion)
    subparsers = parser.add_subcommands(
        title="commands", metavar="COMMAND", description="m3d COMMAND --help lists the flags of a command."
    )
    parsers = {name: command.declare() if name in wanted else new_parser() for name, command in COMMANDS.items()}
    for name, own in parsers.items():
        subparsers.add_subcommand(name, own, help=COMMANDS[name].summary)
        own.prog = f"m3d {name}"
    return parser, parsers
