"""What a shell can complete: commands, flags, the names that a flag takes, and paths."""

from __future__ import annotations

from argparse import Action, ArgumentParser
from collections.abc import Collection, Iterable, Mapping
from types import ModuleType
from typing import Any, get_args

from m3d_condense.recipes.methods import METHODS, PRESETS
from m3d_condense.recipes.protocols import PROTOCOLS
from m3d_condense.tools.errors import UserError

NAMES: Mapping[str, Collection[str]] = {  # of flags that take other text too, so that no parser holds them to these
    "method": METHODS,
    "methods": [*METHODS, "all"],
    "preset": PRESETS,
    "protocol": PROTOCOLS,
}


def script(shell: str, parser: ArgumentParser, commands: Iterable[ArgumentParser]) -> str:
    """Return what a shell reads to complete the program of this parser, whose commands have these.

    Raises:
        UserError: where shtab is not installed, or writes nothing for this shell.
    """
    try:
        import shtab
    except ImportError:
        raise UserError("shtab writes the script, and is not installed; pip install shtab") from None
    if shell not in shtab.SUPPORTED_SHELLS:
        known = ", ".join(shtab.SUPPORTED_SHELLS)
        raise UserError(f"shtab {shtab.__version__} writes for {known}", setting="print_completion", value=shell)
    for command in commands:
        for action in command._actions:
            _describe(action, shtab)
    return str(shtab.complete(parser, shell=shell))


def _describe(action: Action, shtab: ModuleType) -> None:
    """Tell shtab what an argument takes, where the parser does not say it in argparse's own words."""
    listed = NAMES.get(action.dest) or get_args(getattr(action, "_typehint", None))
    if listed and all(isinstance(name, str) for name in listed):
        action.choices = list(listed)
    elif action.metavar in ("DIR", "SET"):
        _complete(action, shtab.DIRECTORY)
    elif action.metavar in ("FILE", "PATH", "DATA"):
        _complete(action, shtab.FILE)


def _complete(action: Any, what: Any) -> None:
    action.complete = what
