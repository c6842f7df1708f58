"""``m3d train``: one network, trained on a condensed set or a whole data set, kept in a file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import ArgumentParser, Namespace

from m3d_condense.cli.command import Command
from m3d_condense.cli.flags import (
    DATA_HELP,
    NETWORK_HELP,
    config_flag,
    execution_flags,
    new_parser,
    number_flag,
    source_flags,
)
from m3d_condense.cli.settings import execution, load_data, refuse_source_flags
from m3d_condense.cli.streams import as_shown
from m3d_condense.recipes.protocols import PROTOCOLS
from m3d_condense.tools.errors import Setting, UserError
from m3d_condense.tools.progress import notice
from m3d_condense.tools.text import counted

if TYPE_CHECKING:
    from m3d_condense.data.dataset import ImageDataset


def declare() -> ArgumentParser:
    parser = new_parser(
        description="Train one network from scratch, test it on real images, and keep it: its weights and all that is "
        "known of it, in one safetensors file that m3d_condense.load_network reads."
    )
    subject = "what to train on: the folder of a condensed set; or all of a data set: " + DATA_HELP
    parser.add_argument("subject", nargs="?", metavar="SET|DATA", help=subject)
    out = "file to write (default: runs/NAME-NETWORK.safetensors)"
    parser.add_argument("--out", type=str, metavar="FILE", help=out)
    parser.add_argument("--network", type=str, default="convnet", metavar="NAME", help=NETWORK_HELP)
    trained = f"how it is trained: {', '.join(PROTOCOLS)} (default: as the set was last scored, else quick)"
    parser.add_argument("--protocol", type=str, metavar="NAME", help=trained)
    parser.add_argument("--epochs", type=int, metavar="N", help="passes over the training images")
    number_flag(parser, "--seed", 0, "seed of the network; it is the first that m3d evaluate trains with it")
    mirrored = "whether a mirrored image keeps its class (default: as the set was condensed, or as the data set says)"
    parser.add_argument("--flip", type=bool, help=mirrored)
    seen = "hard or soft labels of a set (default: soft where it has them)"
    parser.add_argument("--labels", type=str, metavar="KIND", help=seen)
    parser.add_argument("--data", type=str, help="test a set on this data set, not on its own source: " + DATA_HELP)
    parser.add_argument("--overwrite", action="store_true", help="replace the trained network in --out")
    source_flags(parser, ", of DATA alone; a set's own source is read as it was")
    config_flag(parser)
    return execution_flags(parser)


def run(given: Namespace) -> int:
    from m3d_condense.cli.finding import find
    from m3d_condense.fitting import train
    from m3d_condense.training.trained import check_target

    running = execution(given)
    if given.subject is None:
        raise UserError("nothing given to train on; name a condensed set, or a data set, such as digits")
    found = find(given.subject)
    if found is not None:
        if given.data is None:
            refuse_source_flags(given, f"{Setting('data', 'DATA')}, or a data set to train on,")
        subject: Path | ImageDataset = found.folder
        name = (found.hub_id or str(found.folder.resolve())).rpartition("/")[2]
    else:
        subject = dataset = load_data(given, given.subject)
        name = dataset.name
    out = Path(given.out or Path("runs") / f"{name}-{re.sub('[^A-Za-z0-9.]+', '-', given.network)}.safetensors")
    check_target(out, given.overwrite)
    tested_on = None if given.data is None else load_data(given, given.data)
    names = ("network", "protocol", "seed", "epochs", "flip", "labels", "overwrite")
    settings = {name: given[name] for name in names}
    trained = train(subject, tested_on, out=out, execution=running, **settings)
    soft = ", soft labels" if trained.settings.get("labels") == "soft" else ""
    epochs = counted(trained.settings["epochs"], "epoch")
    notice(
        f"{trained.accuracy:.1f} % of {trained.tested_on['images']} test images right after {trained.seconds:.0f} s, "
        f'protocol {trained.protocol}, {epochs}{soft}; load it with: load_network("{out}")'
    )
    print(as_shown(str(out)))
    return 0


COMMAND = Command(summary="train a network on a condensed set or a data set, and keep it", declare=declare, run=run)
