"""``m3d report``: one page about sets."""

from __future__ import annotations

from jsonargparse import ArgumentParser, Namespace

from m3d_condense.cli.command import Command
from m3d_condense.cli.flags import DATA_HELP, config_flag, execution_flags, new_parser, number_flag
from m3d_condense.recipes.protocols import PROTOCOLS

REPORT_HELP = (
    "Write one HTML page about condensed sets: a verdict, the images, the course of the run, accuracy by class, "
    "features, moments, the nearest real images, scores, and the command that makes the set again. Networks that it "
    "takes are trained once and kept."
)


def declare() -> ArgumentParser:
    parser = new_parser(description=REPORT_HELP)
    sets = "folders of sets, or their ids on the hub, and of one comparison; of that alone, its best set is shown"
    parser.add_argument("sets", type=str, nargs="*", default=[], metavar="SET", help=sets)
    where = "page to write (default: report.html in the set, or of several in the current folder)"
    parser.add_argument("--out", type=str, metavar="FILE", help=where)
    parser.add_argument("--data", type=str, help="the real images, in place of each set's own source: " + DATA_HELP)
    network = "network to train (default: of the set's last score, else convnet)"
    parser.add_argument("--network", type=str, metavar="NAME", help=network)
    protocol = f"how it is trained: {', '.join(PROTOCOLS)} (default: of the set's last score, else quick)"
    parser.add_argument("--protocol", type=str, metavar="NAME", help=protocol)
    number_flag(parser, "--repeats", 1, "networks to train on the set, and on random selections")
    parser.add_argument("--no-training", action="store_true", help="leave out all that networks are trained for")
    parser.add_argument("--no-whole", action="store_true", help="train none on the whole data set")
    config_flag(parser)
    return execution_flags(parser)


def run(given: Namespace) -> int:
    from m3d_condense.cli import reporting

    return reporting.run(given)


COMMAND = Command(summary="write one page about condensed sets, with pictures and charts", declare=declare, run=run)
