"""``m3d label``: soft labels for a condensed set, from trained networks."""

from __future__ import annotations

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from m3d_condense.cli.command import Command
from m3d_condense.cli.flags import DATA_HELP, execution_flags, new_parser, set_argument
from m3d_condense.cli.settings import execution
from m3d_condense.cli.streams import as_shown
from m3d_condense.tools.errors import UserError

LABEL_HELP = (
    "Store soft labels with a condensed set: for each decoded image the mean of the probabilities that trained "
    "networks give its classes. Without files, the networks are the pool that the set was condensed with, which is "
    "trained again where it is not in the cache. The images and the hard labels stay as they are, and m3d evaluate "
    "scores both."
)


def declare() -> ArgumentParser:
    parser = new_parser(description=LABEL_HELP)
    set_argument(parser, "folder of a condensed set")
    files = "files of networks that m3d train wrote, trained on real images"
    parser.add_argument("networks", nargs="*", type=str, default=[], metavar="FILE", help=files)
    softness = "T of softmax(logits / T); above 1 the labels are softer (default: 1.0)"
    parser.add_argument("--temperature", type=float, default=1.0, metavar="T", help=softness)
    parser.add_argument("--data", type=str, help="train the pool on this data set, not on the set's own: " + DATA_HELP)
    replaced = "replace other soft labels, and drop the scores with them"
    parser.add_argument("--overwrite", action="store_true", help=replaced)
    return execution_flags(parser)


def run(given: Namespace) -> int:
    from m3d_condense.cli.finding import need
    from m3d_condense.cli.tables import notice_labels
    from m3d_condense.labelling import label
    from m3d_condense.sets.condensed import CondensedSet

    found = need(given.set)
    if found.hub_id is not None:
        raise UserError(f"{found.hub_id}: a set of the hub, which is not written to; label a set that lies here")
    settings = {name: given[name] for name in ("temperature", "overwrite")}
    files = [Path(name) for name in given.networks]
    before = CondensedSet.load(found.folder).soft_labels
    made = label(found.folder, files, given.data, execution=execution(given), **settings)
    notice_labels(before, made, found.folder)
    print(as_shown(str(found.folder)))
    return 0


COMMAND = Command(summary="store soft labels with a condensed set", declare=declare, run=run, shared=True)
