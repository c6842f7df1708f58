"""``m3d condense``: a condensed set of a labelled image data set, in a folder."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from jsonargparse import ArgumentParser, Namespace

from m3d_condense.cli.command import Command
from m3d_condense.cli.flags import (
    config_flag,
    data_argument,
    execution_flags,
    new_parser,
    number_flag,
    recipe_flags,
    source_flags,
)
from m3d_condense.cli.settings import execution, load_data, seconds
from m3d_condense.cli.streams import as_shown
from m3d_condense.recipes.recipe import Recipe
from m3d_condense.tools.errors import Setting, UserError
from m3d_condense.tools.progress import notice

if TYPE_CHECKING:
    from m3d_condense.data.dataset import ImageDataset
    from m3d_condense.machine.execution import Execution

WATCH_HELP = (
    "score a small network every N steps on the test split: its accuracy is put into metrics.jsonl, decides nothing, "
    "and its seconds do not count"
)
LOOKING_ON = ("watch", "preview_every", "track")


def declare() -> ArgumentParser:
    parser = new_parser(
        description="Condense a data set. Settings of the recipe that show no default take the preset's value."
    )
    data_argument(parser)
    parser.add_argument("--out", type=str, metavar="DIR", help="folder to write (default: runs/DATA-METHOD-ipcIPC)")
    source_flags(parser)
    limit = "stop after this time, such as 90s, 10m or 2h, and store what there is; the same command goes on from there"
    parser.add_argument("--time-limit", type=str, metavar="TIME", help=limit)
    grown = "condensed set to start from; larger --ipc or data of more classes add to it"
    parser.add_argument("--start-from", type=str, metavar="DIR", help=grown)
    kept = (
        "whether the images of --start-from stay as they are, to the bit; false optimises them further (default: they "
        "stay where images or classes are added)"
    )
    parser.add_argument("--keep-old", type=bool, help=kept)
    grouped = "groups that the classes are condensed in, one after the other, in the memory of one; joined to one set"
    number_flag(parser, "--class-groups", 1, grouped)
    tried = "try a few steps, print how long the run will take and how much memory, and store nothing"
    parser.add_argument("--estimate", action="store_true", help=tried)
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="make the set in --out anew; an interrupted run of other settings gives way, one of these goes on",
    )
    soft = "label the set as m3d label does, with the pool's networks at temperature 1; for methods with a pool"
    parser.add_argument("--soft-labels", action="store_true", help=soft)
    number_flag(parser, "--watch", 0, f"{WATCH_HELP}; 0 for never")
    drawn = "draw the images every N steps, as OUT.preview.png (of groups, in OUT.class-groups); 0 for never"
    number_flag(parser, "--preview-every", 0, drawn)
    track = "show the history of the run in a tracker, where that is installed"
    parser.add_argument("--track", type=Literal["tensorboard", "trackio"], help=track)
    recipe_flags(parser, "the recipe", own={"method": "m3d", "preset": "quick", "ipc": 10, "seed": 0})
    config_flag(parser, "; or from a condensed set, here or on the hub, whose recipe and data set are taken")
    return execution_flags(parser)


def run(given: Namespace) -> int:
    from m3d_condense.cli.tables import notice_labels, summary
    from m3d_condense.condensing.condensation import condense, recipe_for
    from m3d_condense.labelling import check_labelling, label
    from m3d_condense.sets.condensed import CondensedSet

    limit, running = seconds(given.time_limit), execution(given)
    if given.out is not None:
        CondensedSet.check_target(given.out)
    dataset = load_data(given, given.data)
    settings = {field.name: given[field.name] for field in fields(Recipe)}
    if given.soft_labels:
        recipe = recipe_for(dataset, given.method, given.preset, given.ipc, settings)
        check_labelling(recipe, given.class_groups)
    if given.estimate:
        return _estimate(given, dataset, running, settings)
    out = Path(given.out or Path("runs") / f"{dataset.name}-{given.method}-ipc{given.ipc}")
    settings |= {name: given[name] for name in (*LOOKING_ON, "start_from", "keep_old", "class_groups")}
    condensed = condense(dataset, out=out, overwrite=given.overwrite, time_limit=limit, execution=running, **settings)
    notice(summary(condensed, dataset, out))
    if given.soft_labels:
        notice_labels(condensed.soft_labels, label(out, data=dataset, execution=running), out)
    print(as_shown(str(out)))
    return 0


def _estimate(given: Namespace, dataset: ImageDataset, running: Execution, settings: dict[str, Any]) -> int:
    from m3d_condense.cli.tables import print_estimate
    from m3d_condense.condensing.estimate import estimate

    for name, default in {"start_from": None, "keep_old": None, "watch": 0}.items():
        if given[name] != default:
            raise UserError(f"tells of runs without {Setting(name)}", setting="estimate")
    limit = seconds(given.time_limit)
    found = estimate(dataset, class_groups=given.class_groups, time_limit=limit, execution=running, **settings)
    print_estimate(found, limit)
    return 0


COMMAND = Command(summary="make a condensed set of a labelled image data set", declare=declare, run=run, shared=True)
