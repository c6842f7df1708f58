"""The flags of the command line, and how a command's settings are read from them and from a configuration file."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from jsonargparse import ArgumentParser, Namespace

from m3d_condense.cli.config import Config, apply, read
from m3d_condense.cli.wording import flag, mistakes_worded
from m3d_condense.recipes.methods import METHODS
from m3d_condense.recipes.protocols import PROTOCOLS
from m3d_condense.recipes.recipe import MOST, meanings
from m3d_condense.tools.errors import Setting, UserError

DATA_HELP = (
    "a name (digits, mnist, fashion-mnist, svhn, cifar10, cifar100, imagenet-10, imagenet-100); a data set of the "
    "Hugging Face hub (owner/name, or owner/name:config); a folder with a sub-folder of images for each class, or with "
    "train/ and test/ above those; a parquet file, or a folder of them; an .npz or .mat file; or "
    "the binary files of MNIST, CIFAR or SVHN as they are downloaded"
)
NETWORKS_HELP = (
    "architectures to train: convnet (its depth follows from the images' size), convnetD with depth D, resnet10, "
    "resnet18, resnetap10 or densenet121, each with -batch or -group for another norm; module:callable; timm:NAME "
    "(default: convnet)"
)
COMPARE_HELP = (
    "Condense a data set by several methods, score every set by the same networks under one protocol, and print one "
    "table of them, of random selection and of the whole data set. The table is kept in --out, also as CSV, Markdown "
    "and JSON. An interrupted comparison goes on where it stopped when the same command is given again; methods, ipc, "
    "seeds and networks may be added later."
)
NAMING = ("method", "preset", "ipc", "seed")  # settings that m3d compare varies, or has flags of its own for
METAVARS = {int: "N", float: "X", str: "NAME", bool: "{true,false}"}
SEED_MOST = 2**64 - 1


def parse(arguments: Sequence[str]) -> tuple[str, Namespace] | None:
    """Return the command and its settings; None, after printing the help, where nothing is asked.

    Raises:
        UserError: for a flag, a value or a configuration file that is not understood.
        SystemExit: after printing the help that ``--help`` asks for.
    """
    parser, commands = _parser()
    if not arguments:
        parser.print_help()
        return None
    with mistakes_worded():
        found = _configure(arguments, commands)
        parsed = parser.parse_args(list(arguments))
    given = parsed[parsed.subcommand]
    if found is not None and found.code is not None and given.network is None:
        own = Setting("network", found.code)
        raise UserError(f"--config {found.path}: its network is code, which no set may import; give {own} yourself")
    for name, value in given.items():
        _check_whole(name, value)
    return parsed.subcommand, given


def _configure(arguments: Sequence[str], commands: Mapping[str, ArgumentParser]) -> Config | None:
    """Make the settings of ``--config``, if that is given, the defaults of its command, before flags are read."""
    finder = argparse.ArgumentParser(add_help=False, exit_on_error=False, allow_abbrev=False)
    finder.add_argument("--config")
    path = finder.parse_known_args(list(arguments))[0].config
    if path is None or arguments[0] not in commands:
        return None
    found = read(Path(path), sets=arguments[0] == "condense")
    apply(found, commands[arguments[0]])
    return found


def _check_whole(name: str, value: Any) -> None:
    """Raise `UserError` for a whole number that no seed, or no count, can be."""
    most = SEED_MOST if name.endswith("seed") else MOST
    for number in value if isinstance(value, list) else [value]:
        if isinstance(number, int) and not -(2**63) <= number <= most:
            raise UserError(f"at most {most}" if number > 0 else f"at least -{2**63}", setting=name, value=number)


def _parser() -> tuple[ArgumentParser, dict[str, ArgumentParser]]:
    parser = _new(prog="m3d", description="A few synthetic images per class in place of a whole data set.")
    subparsers = parser.add_subcommands(
        title="commands", metavar="COMMAND", description="m3d COMMAND --help lists the flags of a command."
    )
    commands = {
        "condense": (_condense_parser(), "make a condensed set of a labelled image data set"),
        "evaluate": (_evaluate_parser(), "train networks on condensed sets and test them on real images"),
        "compare": (_compare_parser(), "condense by several methods and score the sets, in one table"),
        "inspect": (_inspect_parser(), "show what a data set is read as, without condensing it"),
        "cache": (_cache_parser(), "list or remove what is kept between runs"),
        "info": (_info_parser(), "show the versions, the hardware, and the names of methods, protocols and networks"),
    }
    for name, (command, text) in commands.items():
        subparsers.add_subcommand(name, command, help=text)
        command.prog = f"m3d {name}"
    return parser, {name: command for name, (command, _) in commands.items()}


def _new(**keywords: Any) -> ArgumentParser:
    return ArgumentParser(
        exit_on_error=False, allow_abbrev=False, formatter_class=argparse.HelpFormatter, add_help=True, **keywords
    )


def _condense_parser() -> ArgumentParser:
    parser = _new(
        description="Condense a data set. Settings of the recipe that show no default take the preset's value."
    )
    _data(parser)
    parser.add_argument("--out", type=str, metavar="DIR", help="folder to write (default: runs/DATA-METHOD-ipcIPC)")
    _source_flags(parser)
    limit = "stop after this time, such as 90s, 10m or 2h, and store what there is; the same command goes on from there"
    parser.add_argument("--time-limit", type=str, metavar="TIME", help=limit)
    parser.add_argument("--overwrite", action="store_true", help="discard the finished or interrupted run in --out")
    _recipe_flags(parser, "the recipe", own={"method": "m3d", "preset": "quick", "ipc": 10, "seed": 0})
    _config_flag(parser, "; or from a condensed set, whose recipe and data set are taken")
    return _execution_flags(parser)


def _evaluate_parser() -> ArgumentParser:
    parser = _new(
        description="Train networks from scratch and test them on real images. Scores of condensed sets are stored "
        "in the sets."
    )
    sets = "folders of condensed sets; also data sets, with --random or --whole"
    parser.add_argument("sets", type=str, nargs="*", default=[], metavar="SET", help=sets)
    parser.add_argument("--data", type=str, help="test sets on this data set, not on their own source: " + DATA_HELP)
    parser.add_argument(
        "--random", action="store_true", help="also score random selections, a new one for each network"
    )
    parser.add_argument("--whole", action="store_true", help="also score the whole training split")
    per_class = "images per class of --random, for data sets; for condensed sets it is their own"
    _number(parser, "--ipc", 10, per_class)
    _scoring_flags(parser, "in place of the protocol's")
    _number(parser, "--seed", 0, "seed of all networks and random selections")
    mirrored = "whether a mirrored image keeps its class (default: as the set was condensed, or as the data set says)"
    parser.add_argument("--flip", type=bool, help=mirrored)
    _source_flags(parser, ", for data sets that are named here; a set's own source is loaded as it was")
    _config_flag(parser)
    return _execution_flags(parser)


def _compare_parser() -> ArgumentParser:
    parser = _new(description=COMPARE_HELP)
    _data(parser)
    parser.add_argument("--out", type=str, metavar="DIR", help="folder to write (default: runs/compare-DATA)")
    shown = f"all (the default), or some of {', '.join(METHODS)}"
    names = ("all", *METHODS)
    parser.add_argument("--methods", nargs="+", choices=names, default=["all"], metavar="NAME", help=shown)
    per_class = "stored images per class; several numbers make several sets (default: 10)"
    parser.add_argument("--ipc", type=int, nargs="+", default=[10], metavar="N", help=per_class)
    parser.add_argument("--preset", type=str, default="quick", metavar="NAME", help="quick or paper (default: quick)")
    _number(parser, "--seeds", 3, "sets of each kind, each with a seed of its own")
    _number(parser, "--seed", 0, "seed of the first of them, and of all networks")
    limit = "time for each set, such as 90s, 10m or 2h; a short trial finds how many iterations fit in it"
    parser.add_argument("--time-limit", type=str, metavar="TIME", help=limit)
    parser.add_argument("--no-random", action="store_true", help="leave random selection out of the comparison")
    parser.add_argument("--no-whole", action="store_true", help="leave the whole data set out of the comparison")
    _scoring_flags(parser, "in place of the protocol's; on the whole data set, at most the protocol's for that")
    by = "sort the table by accuracy, seconds, method or bytes (default: accuracy)"
    orders = Literal["accuracy", "seconds", "method", "bytes"]
    parser.add_argument("--sort", type=orders, default="accuracy", help=by)
    parser.add_argument("--overwrite", action="store_true", help="discard the comparison in --out, and its sets")
    _source_flags(parser)
    _recipe_flags(parser, "the recipes of all methods that take steps, in place of the preset's values")
    _config_flag(parser)
    return _execution_flags(parser)


def _info_parser() -> ArgumentParser:
    return _execution_flags(_new(description="Show what this machine offers, what would be used, and what there is."))


def _inspect_parser() -> ArgumentParser:
    parser = _new(description="Read a data set, print what it holds, and draw a few images of each class.")
    _data(parser)
    where = "picture to draw (default: DATA-contact-sheet.png in the current folder)"
    parser.add_argument("--out", type=str, metavar="FILE", help=where)
    parser.add_argument("--json", action="store_true", help="print JSON in place of text")
    _source_flags(parser)
    return _quiet_flag(parser)


def _cache_parser() -> ArgumentParser:
    text = "List or remove decoded images, trained networks and compiled code, which spare work in later runs."
    where = "M3D_CACHE says where they are kept, M3D_CACHE_LIMIT how many GiB of images."
    parser = _new(description=f"{text} {where}")
    parser.add_argument("action", type=Literal["list", "remove"], help="list, or remove")
    parser.add_argument("names", nargs="*", default=[], metavar="NAME", help="as listed, or a kind such as images")
    parser.add_argument("--all", action="store_true", help="remove all")
    return _quiet_flag(parser)


def _recipe_flags(parser: ArgumentParser, title: str, own: Mapping[str, Any] | None = None) -> None:
    """Add a flag for each setting; those that name a run (its method and seed, say) only with defaults of its own."""
    group = parser.add_argument_group(title)
    for name, (kind, text) in meanings().items():
        if own is None and name in NAMING:
            continue
        default = (own or {}).get(name)
        names = f"; one of {', '.join(METHODS)}" if name == "method" else ""
        shown = f"{text}{names}" + ("" if default is None else f" (default: {default})")
        metavar = METAVARS[kind]
        group.add_argument(flag(Setting(name)), type=kind, default=default, help=_escaped(shown), metavar=metavar)


def _scoring_flags(parser: ArgumentParser, epochs: str) -> None:
    parser.add_argument("--networks", type=str, nargs="+", default=["convnet"], metavar="NAME", help=NETWORKS_HELP)
    trained = f"how networks are trained: {', '.join(PROTOCOLS)} (default: quick)"
    parser.add_argument("--protocol", type=str, default="quick", metavar="NAME", help=trained)
    _number(parser, "--repeats", 3, "networks of each architecture to train on each set")
    parser.add_argument("--epochs", type=int, metavar="N", help=f"passes over the training images, {epochs}")
    parser.add_argument("--json", action="store_true", help="print JSON in place of a table")


def _data(parser: ArgumentParser) -> None:
    parser.add_argument("data", nargs="?", metavar="DATA", help="the data set: " + DATA_HELP)


def _number(parser: ArgumentParser, name: str, default: int, text: str) -> None:
    parser.add_argument(name, type=int, default=default, metavar="N", help=f"{text} (default: {default})")


def _source_flags(parser: ArgumentParser, of: str = "") -> None:
    sized = f"resize and crop the images to N×N pixels{of}"
    parser.add_argument("--size", type=int, metavar="N", help=sized)
    parser.add_argument(
        "--image-column", type=str, metavar="NAME", help="column of the images (default: found by type)"
    )
    parser.add_argument(
        "--label-column", type=str, metavar="NAME", help="column of the labels (default: found by type)"
    )
    parser.add_argument(
        "--layout",
        type=Literal["NHW", "NHWC", "NCHW"],
        help="axes of arrays, where their shape does not say them: images, height, width and channels",
    )
    _number(parser, "--split-seed", 0, "seed of the test split, where the data has none of its own")


def _config_flag(parser: ArgumentParser, sets: str = "") -> None:
    text = f"read settings, named as these flags, from a YAML or JSON file{sets}; flags that are given take precedence"
    parser.add_argument("--config", type=str, metavar="PATH", help=text)


def _execution_flags(parser: ArgumentParser) -> ArgumentParser:
    group = parser.add_argument_group("the machine")
    device = "auto (a GPU where there is one), or a device of torch, such as cpu or cuda:1 (default: auto)"
    group.add_argument("--device", type=str, default="auto", metavar="NAME", help=device)
    precision = "precision of the networks; auto is bfloat16 where the hardware has it, but float32 in native blocks"
    precisions = Literal["auto", "float32", "tf32", "bfloat16"]
    group.add_argument("--precision", type=precisions, default="auto", help=f"{precision} (default: auto)")
    native = "compute ConvNet's blocks in this package's own code, on a CPU in float32 (default: true)"
    group.add_argument("--native", type=bool, default=True, help=native)
    compiled = "compile the networks that run in torch; auto compiles where that pays back (default: auto)"
    group.add_argument("--compile", type=Literal["auto", "yes", "no"], default="auto", help=compiled)
    memory = "GiB for the activations of one chunk of classes; 0 lets the device decide (default: 0)"
    group.add_argument("--memory", type=float, default=0.0, metavar="GIB", help=memory)
    return _quiet_flag(parser, group)


def _quiet_flag(parser: ArgumentParser, group: Any = None) -> ArgumentParser:
    (group or parser).add_argument("-q", "--quiet", action="store_true", help="show no notices and no progress")
    return parser


def _escaped(text: str) -> str:
    """Return a text as argparse takes it, which fills in what stands behind a %."""
    return text.replace("%", "%%")
