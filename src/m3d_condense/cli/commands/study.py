"""``m3d study``: variants of one method's settings in one table, scored on held-out training images."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from m3d_condense.cli.command import Command
from m3d_condense.cli.flags import (
    NAMING,
    config_flag,
    data_argument,
    execution_flags,
    new_parser,
    number_flag,
    recipe_flags,
    scoring_flags,
    source_flags,
    table_flags,
)
from m3d_condense.cli.settings import execution, load_data, seconds, variants
from m3d_condense.recipes.recipe import Recipe
from m3d_condense.tools.errors import UserError

STUDY_HELP = (
    "Condense a data set by variants of one method, and score every set on a tenth of the training images, which was "
    "held out of all that made it: so settings may be chosen by the table without a look at the test split. The table "
    "is kept in --out, also as CSV, Markdown and JSON; an interrupted study goes on where it stopped when the same "
    "command is given again, and values and seeds may be added later: the table is of those asked for, and "
    "its files hold all that is in --out."
)


def declare() -> ArgumentParser:
    parser = new_parser(description=STUDY_HELP)
    data_argument(parser)
    varied = (
        "settings, and the values that each takes in turn while the others stay, such as lr=0.01,0.02 kernel=linear"
    )
    parser.add_argument("--vary", type=str, nargs="+", default=[], metavar="NAME=VALUES", help=varied)
    parser.add_argument("--together", action="store_true", help="try every combination of these values")
    parser.add_argument("--method", type=str, default="m3d", metavar="NAME", help="what is varied (default: m3d)")
    number_flag(parser, "--ipc", 10, "stored images per class")
    held = "share of each class's training images that the sets are scored on; 0 for the test split (default: 0.1)"
    parser.add_argument("--hold-out", type=float, default=0.1, metavar="X", help=held)
    parser.add_argument("--out", type=str, metavar="DIR", help="folder to write (default: runs/study-DATA)")
    table_flags(parser, "study", "variant", seeds=1)
    scoring_flags(parser, "in place of the protocol's")
    source_flags(parser)
    recipe_flags(parser, "the recipe of all variants, in place of the preset's values")
    config_flag(parser)
    return execution_flags(parser)


def run(given: Namespace) -> int:
    from m3d_condense.cli.tables import print_study
    from m3d_condense.studies.variants import study

    if not given.vary:
        raise UserError("name a setting to vary, and its values, such as lr=0.01,0.02", setting="vary")
    limit, running, vary = seconds(given.time_limit), execution(given), variants(given.vary)
    dataset = load_data(given, given.data)
    out = Path(given.out or Path("runs") / f"study-{dataset.name}")
    asked = ("together", "method", "ipc", "preset", "hold_out", "seeds", "seed", "overwrite")
    scores = ("networks", "protocol", "repeats", "epochs", "readings", "sort")
    recipe = [field.name for field in fields(Recipe) if field.name not in NAMING]
    results = study(
        dataset,
        vary=vary,
        out=out,
        time_limit=limit,
        execution=running,
        **{name: given[name] for name in (*asked, *scores, *recipe)},
    )
    return print_study(results, given.json, out)


COMMAND = Command(
    summary="vary the settings of a method, scored on held-out training images", declare=declare, run=run, shared=True
)
