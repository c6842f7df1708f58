"""``m3d push``: a condensed set sent to the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from m3d_condense.cli.command import Command
from m3d_condense.cli.flags import new_parser, quiet_flag, set_argument
from m3d_condense.tools.errors import UserError

PUSH_HELP = (
    "Send a finished condensed set to the Hugging Face hub, as a data set that m3d, datasets and its viewer open. "
    "Pushed again, it replaces what was pushed before. Log in first, with `hf auth login` or HF_TOKEN."
)


def declare() -> ArgumentParser:
    parser = new_parser(description=PUSH_HELP)
    set_argument(parser, "folder of a condensed set")
    parser.add_argument("id", nargs="?", type=str, metavar="OWNER/NAME", help="its id on the hub")
    parser.add_argument("--private", action="store_true", help="let nobody else see it, where it is new")
    parser.add_argument("--dry-run", action="store_true", help="list what would be sent, and send nothing")
    return quiet_flag(parser)


def run(given: Namespace) -> int:
    from m3d_condense.cli import pushing

    if given.set is None or given.id is None:
        raise UserError("name the folder of a set, and its id on the hub: m3d push SET OWNER/NAME")
    return pushing.run(Path(given.set), given.id, private=given.private, dry_run=given.dry_run)


COMMAND = Command(summary="send a condensed set to the Hugging Face hub", declare=declare, run=run)
