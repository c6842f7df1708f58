"""``m3d evaluate``: networks trained on sets, tested on real images, in a table."""

from __future__ import annotations

import sys
from itertools import product
from typing import TYPE_CHECKING

from jsonargparse import ArgumentParser, Namespace

from m3d_condense.cli.command import Command
from m3d_condense.cli.flags import (
    DATA_HELP,
    RANDOM_IPC,
    config_flag,
    execution_flags,
    new_parser,
    number_flag,
    scoring_flags,
    source_flags,
)
from m3d_condense.cli.settings import execution
from m3d_condense.cli.streams import complain
from m3d_condense.machine.group import current
from m3d_condense.tools.errors import UserError

if TYPE_CHECKING:
    from m3d_condense.cli.entries import Entry
    from m3d_condense.sets.condensed import Score


def declare() -> ArgumentParser:
    parser = new_parser(
        description="Train networks from scratch and test them on real images. Scores of condensed sets are stored "
        "in the sets, but not in those of the hub."
    )
    sets = "folders of condensed sets, or their ids on the hub; also data sets, with --random or --whole"
    parser.add_argument("sets", type=str, nargs="*", default=[], metavar="SET", help=sets)
    parser.add_argument("--data", type=str, help="test sets on this data set, not on their own source: " + DATA_HELP)
    parser.add_argument(
        "--random", action="store_true", help="also score random selections, a new one for each network"
    )
    parser.add_argument("--whole", action="store_true", help="also score the whole training split")
    per_class = (
        f"images per class of --random, for data sets (default: {RANDOM_IPC}); for condensed sets it is their own"
    )
    parser.add_argument("--ipc", type=int, metavar="N", help=per_class)
    scoring_flags(parser, "in place of the protocol's")
    number_flag(parser, "--seed", 0, "seed of all networks and random selections")
    mirrored = "whether a mirrored image keeps its class (default: as the set was condensed, or as the data set says)"
    parser.add_argument("--flip", type=bool, help=mirrored)
    seen = (
        "labels of the sets: hard, or soft with the hard ones scored beside them (default: soft where a set has them)"
    )
    parser.add_argument("--labels", type=str, metavar="KIND", help=seen)
    source_flags(parser, ", of data sets that are named here; a set's own source is read as it was")
    config_flag(parser)
    return execution_flags(parser)


def run(given: Namespace) -> int:
    from m3d_condense.cli.entries import entries
    from m3d_condense.cli.tables import Scored, print_scores
    from m3d_condense.scoring import evaluate

    common = {name: given[name] for name in ("protocol", "repeats", "seed", "epochs", "readings")}
    common["execution"] = execution(given)
    rows: list[Scored] = []
    unstored: list[str] = []
    found = entries(given)
    try:
        for entry in found:
            own = entry.own_epochs(given.protocol)
            for network, labels in product(dict.fromkeys(given.networks), entry.labels(given.labels)):
                one = {"network": network, "labels": labels, "flip": entry.flip}
                score = evaluate(entry.trained_on, entry.dataset, **one, **common)
                size = entry.class_bytes(labels)
                rows.append(Scored(name=entry.name, score=score, class_bytes=size, own_epochs=own))
                unstored += _store(score, entry)
    finally:  # what was measured is shown, whatever comes after it
        if rows:
            print_scores(rows, given.json)
            sys.stdout.flush()
    for problem in dict.fromkeys(unstored):
        complain(problem, 1)
    return 1 if unstored else 0


def _store(score: Score, entry: Entry) -> list[str]:
    """Store a score in its set, if it is of one; return what went wrong, which is no reason to lose the score."""
    from m3d_condense.sets.condensed import CondensedSet

    if entry.folder is None or not isinstance(entry.trained_on, CondensedSet) or not current().leads:
        return []
    try:
        entry.trained_on.add_score(score, entry.folder)
    except (OSError, UserError) as error:
        return [f"{entry.folder}: its scores, printed above, could not be stored: {error}"]
    return []


COMMAND = Command(
    summary="train networks on condensed sets and test them on real images", declare=declare, run=run, shared=True
)
