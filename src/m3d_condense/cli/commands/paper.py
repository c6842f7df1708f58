"""``m3d paper``: the tables and figures of the M3D paper, ours beside the paper's."""

from __future__ import annotations

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from m3d_condense.cli.command import Command
from m3d_condense.cli.flags import NETWORKS_HELP, config_flag, execution_flags, new_parser, number_flag, readings_flag
from m3d_condense.cli.settings import execution, seconds
from m3d_condense.cli.streams import complain
from m3d_condense.recipes.methods import METHODS
from m3d_condense.recipes.protocols import PROTOCOLS
from m3d_condense.studies.paper.grids import GRIDS, Grid
from m3d_condense.tools.errors import UserError
from m3d_condense.tools.progress import notice

LIST = "list"
PAPER_HELP = (
    "Make a table or figure of the M3D paper (Zhang et al., AAAI 2024): condense and score what it needs, and print "
    "each result beside the paper's. Tables are written to --out as Markdown, CSV and JSON, figures as SVG and PNG. "
    "An interrupted run goes on where it stopped when the same command is given again; tables and figures in one "
    "folder share their sets. `m3d paper list` says what there is."
)


def declare() -> ArgumentParser:
    parser = new_parser(description=PAPER_HELP)
    names = f"list, or one of {', '.join(GRIDS)}"
    parser.add_argument("name", nargs="?", metavar="NAME", help=names)
    only = "data sets, and images per class, such as cifar10/10 or mnist (default: all of the table or figure)"
    parser.add_argument("--only", type=str, nargs="+", metavar="DATA/IPC", help=only)
    methods = f"of the table or figure, or added to it: {', '.join(METHODS)}, whole (default: those of the paper)"
    parser.add_argument("--methods", type=str, nargs="+", metavar="NAME", help=methods)
    preset = "quick, sized for minutes, or paper, the values of the methods' papers (default: quick)"
    parser.add_argument("--preset", type=str, default="quick", metavar="NAME", help=preset)
    number_flag(parser, "--seeds", 1, "sets of each kind, each with a seed of its own")
    number_flag(parser, "--seed", 0, "seed of the first of them, and of all networks")
    budget = "time of condensing for each set, such as 90s, 10m or 2h; as many steps as fit, at most the paper's"
    parser.add_argument("--budget", "--time-limit", dest="time_limit", type=str, metavar="TIME", help=budget)
    steps = "steps of each set, in place of the preset's; of figure3, the most"
    parser.add_argument("--iterations", type=int, metavar="N", help=steps)
    networks = NETWORKS_HELP.replace("(default: convnet)", "(default: those of the paper)")
    parser.add_argument("--networks", type=str, nargs="+", metavar="NAME", help=networks)
    trained = f"how networks are trained: {', '.join(PROTOCOLS)} (default: quick, or idc with --preset paper)"
    parser.add_argument("--protocol", type=str, metavar="NAME", help=trained)
    repeats = "networks of each architecture to train on each set (default: 3; with --preset paper, as in the paper)"
    parser.add_argument("--repeats", type=int, metavar="N", help=repeats)
    epochs = "passes over the training images, in place of the protocol's"
    parser.add_argument("--epochs", type=int, metavar="N", help=epochs)
    readings_flag(parser)
    root = "a folder of copies of the data by their names, such as cifar10 or fashion_mnist, in place of the hub"
    parser.add_argument("--data-root", type=str, metavar="DIR", help=root)
    parser.add_argument("--out", type=str, metavar="DIR", help="folder to write (default: runs/paper-PRESET)")
    parser.add_argument("--overwrite", action="store_true", help="discard what --out holds, with its sets")
    tried = "say how long it will take on this machine, after trying a few steps of each kind of set, and do no more"
    parser.add_argument("--estimate", action="store_true", help=tried)
    parser.add_argument("--json", action="store_true", help="print JSON in place of a table")
    config_flag(parser)
    return execution_flags(parser)


def run(given: Namespace) -> int:
    from m3d_condense.cli.paper import print_estimate, print_grids, print_reproduction

    if given.name == LIST:
        print_grids(given.json)
        return 0
    from m3d_condense.studies.paper.cells import Asked
    from m3d_condense.studies.paper.estimate import estimate
    from m3d_condense.studies.paper.reproduction import reproduce

    sets = ("only", "methods", "preset", "seeds", "seed", "iterations")
    scores = ("networks", "protocol", "repeats", "epochs", "readings")
    limit = seconds(given.time_limit)
    asked = Asked(grid=_grid(given.name), time_limit=limit, **{name: given[name] for name in (*sets, *scores)})
    out = Path(given.out or Path("runs") / f"paper-{asked.preset}")
    root = None if given.data_root is None else Path(given.data_root)
    running = execution(given)
    if given.estimate:
        print_estimate(estimate(asked, data_root=root, out=out, execution=running), given.json)
        return 0
    made = reproduce(asked, data_root=root, out=out, overwrite=given.overwrite, execution=running)
    print_reproduction(made, given.json)
    notice(f"{asked.grid.name} as Markdown, CSV and JSON, and the condensed sets: {out}")
    failed = f"{made.failed} of {len(made.records)} sets failed, as said below the table"
    return complain(failed, 1) if made.failed else 0


def _grid(name: str | None) -> Grid:
    if name is None:
        raise UserError(f"name a table or figure: {', '.join(GRIDS)}; or {LIST}")
    if name not in GRIDS:
        raise UserError(f"unknown table or figure {name!r}: one of {', '.join(GRIDS)}; or {LIST}")
    return GRIDS[name]


COMMAND = Command(
    summary="make a table or figure of the M3D paper, ours beside the paper's", declare=declare, run=run, shared=True
)
