"""What a shell can complete: commands, flags, the names that a flag takes, and paths."""

from __future__ import annotations

from argparse import Action
from collections.abc import Collection, Mapping
from types import ModuleType
from typing import Any, get_args

from m3d_condense.cli.arguments import whole_parser
from m3d_condense.recipes.methods import METHODS, PRESETS
from m3d_condense.recipes.protocols import PROTOCOLS
from m3d_condense.tools.errors import UserError

NAMES: Mapping[str, Collection[str]] = {  # of flags that take other text too, so that no parser holds them to these
    "method": METHODS,
    "methods": [*METHODS, "all"],
    "preset": PRESETS,
    "protocol": PROTOCOLS,
}


def script(shell: str | None) -> str:
    """Return what a shell reads to complete ``m3d``.

    Raises:
        UserError: where no shell is named, and where shtab is not installed, or is too old for this one.
    """
    if shell is None:
        raise UserError("say for which shell: bash, zsh, fish or tcsh")
    try:
        import shtab
    except ImportError:
        raise UserError("shtab writes the script, and is not installed; pip install shtab") from None
    if shell not in shtab.SUPPORTED_SHELLS:
        raise UserError("this version of shtab writes none for it; pip install -U shtab", setting="shell", value=shell)
    parser, commands = whole_parser()
    for command in commands.values():
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
