"""The commands: each file declares the flags of one and runs it."""

from __future__ import annotations

from m3d_condense.cli.command import Command
from m3d_condense.cli.commands import (
    cache,
    compare,
    condense,
    evaluate,
    export,
    import_,
    info,
    inspect,
    label,
    paper,
    push,
    report,
    study,
    train,
)

__all__ = ["COMMANDS"]

COMMANDS: dict[str, Command] = {
    "condense": condense.COMMAND,
    "label": label.COMMAND,
    "evaluate": evaluate.COMMAND,
    "train": train.COMMAND,
    "compare": compare.COMMAND,
    "study": study.COMMAND,
    "paper": paper.COMMAND,
    "report": report.COMMAND,
    "export": export.COMMAND,
    "import": import_.COMMAND,
    "push": push.COMMAND,
    "inspect": inspect.COMMAND,
    "cache": cache.COMMAND,
    "info": info.COMMAND,
}
"""By name, as the help lists them."""
