"""``m3d compare``: methods lined up in one table."""

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
    recipe_flags,
    scoring_flags,
    source_flags,
    table_flags,
)
from m3d_condense.cli.settings import execution, load_data, seconds
from m3d_condense.recipes.methods import METHODS
from m3d_condense.recipes.recipe import Recipe

COMPARE_HELP = (
    "Condense a data set by several methods, score every set by the same networks under one protocol, and print one "
    "table of them, of random selection and of the whole data set. The table is kept in --out, also as CSV, Markdown "
    "and JSON. An interrupted comparison goes on where it stopped when the same command is given again; methods, ipc, "
    "seeds and networks may be added later: the table is of those asked for, and its files hold all that is in --out."
)


def declare() -> ArgumentParser:
    parser = new_parser(description=COMPARE_HELP)
    data_argument(parser)
    parser.add_argument("--out", type=str, metavar="DIR", help="folder to write (default: runs/compare-DATA)")
    shown = f"all (the default), or some of {', '.join(METHODS)}"
    names = ("all", *METHODS)
    parser.add_argument("--methods", nargs="+", choices=names, default=["all"], metavar="NAME", help=shown)
    per_class = "stored images per class; several numbers make several sets (default: 10)"
    parser.add_argument("--ipc", type=int, nargs="+", default=[10], metavar="N", help=per_class)
    parser.add_argument("--no-random", action="store_true", help="leave random selection out of the comparison")
    parser.add_argument("--no-whole", action="store_true", help="leave the whole data set out of the comparison")
    table_flags(parser, "comparison", "kind", seeds=3)
    scoring_flags(parser, "in place of the protocol's; on the whole data set, at most the protocol's for that")
    soft = "label sets of methods with a pool, as m3d label does, and score these with soft labels too"
    parser.add_argument("--soft-labels", action="store_true", help=soft)
    source_flags(parser)
    recipe_flags(parser, "the recipes of all methods that take steps, in place of the preset's values")
    config_flag(parser)
    return execution_flags(parser)


def run(given: Namespace) -> int:
    from m3d_condense.cli.tables import print_study
    from m3d_condense.studies.comparison import compare

    limit, running = seconds(given.time_limit), execution(given)
    dataset = load_data(given, given.data)
    out = Path(given.out or Path("runs") / f"compare-{dataset.name}")
    sets = ("methods", "ipc", "preset", "seeds", "seed", "overwrite", "soft_labels")
    scores = ("networks", "protocol", "repeats", "epochs", "readings", "sort")
    recipe = [field.name for field in fields(Recipe) if field.name not in NAMING]
    comparison = compare(
        dataset,
        out=out,
        random=not given.no_random,
        whole=not given.no_whole,
        time_limit=limit,
        execution=running,
        **{name: given[name] for name in (*sets, *scores, *recipe)},
    )
    return print_study(comparison, given.json, out)


COMMAND = Command(
    summary="condense by several methods and score the sets, in one table", declare=declare, run=run, shared=True
)
