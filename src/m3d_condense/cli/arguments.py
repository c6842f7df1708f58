"""The words of the command line and of configuration files: the flags, and how a run's settings are read."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from jsonargparse import ArgumentParser, Namespace

from m3d_condense.recipes.methods import METHODS
from m3d_condense.recipes.protocols import PROTOCOLS
from m3d_condense.recipes.recipe import Recipe
from m3d_condense.tools.errors import Setting, UserError

DATA_HELP = (
    "a name (digits, mnist, fashion-mnist, svhn, cifar10, cifar100, imagenet-10, imagenet-100), a hub id (owner/name "
    "or owner/name:config), "
    "a folder of images in a folder per class (or train/ and test/ of those), parquet files, or an .npz"
)
NETWORKS_HELP = (
    "of convnet, convnetD with its depth, resnet10, resnet18, resnetap10, densenet121, any with -batch or -group; "
    "module:callable; timm:NAME (default: convnet)"
)
COMPARE_HELP = (
    "Condense a data set by several methods, score every set by the same networks under one protocol, and print one "
    "table, beside random selection and the whole data set. It is kept in --out, also as CSV, Markdown and JSON. An "
    "interrupted comparison goes on where it stopped when the same command is given again; methods, ipc, seeds and "
    "networks may be added to a finished one."
)
NAMING = ("method", "preset", "ipc", "seed")  # the settings that m3d compare varies, or has its own flags for
SOURCE_KEYS = ("data", "size", "image_column", "label_column")


def parse(arguments: Sequence[str]) -> tuple[str, Namespace] | None:
    """Return the command and its settings; None, after printing the help, where nothing is asked.

    Raises:
        UserError: for a flag, a value or a configuration file that is not understood.
    """
    parser, commands = _parser()
    if not arguments:
        parser.print_help()
        return None
    try:
        _apply_config(arguments, commands)
        parsed = parser.parse_args(list(arguments))
    except argparse.ArgumentError as error:
        raise UserError(_plain(str(error))) from None
    return parsed.subcommand, parsed[parsed.subcommand]


def _parser() -> tuple[ArgumentParser, dict[str, ArgumentParser]]:
    parser = _new(prog="m3d", description="A few synthetic images per class in place of a whole data set.")
    subparsers = parser.add_subcommands(title="commands", metavar="COMMAND")
    commands = {
        "condense": (_condense_parser(), "make a condensed set of a labelled image data set"),
        "evaluate": (_evaluate_parser(), "train networks on a condensed set and test them on real images"),
        "compare": (_compare_parser(), "condense by several methods and score them side by side, in one table"),
        "inspect": (_inspect_parser(), "show what a data set is read as, without condensing it"),
        "cache": (_cache_parser(), "list or remove what is kept between runs"),
        "info": (_execution_flags(_new()), "what this machine offers, what will be used, and what there is by name"),
    }
    for name, (command, text) in commands.items():
        subparsers.add_subcommand(name, command, help=text)
    return parser, {name: command for name, (command, _) in commands.items()}


def _condense_parser() -> ArgumentParser:
    parser = _new(description="Condense a data set. Flags without a default here take the preset's value.")
    parser.add_argument("data", nargs="?", default=None, help=DATA_HELP)
    parser.add_argument("--out", metavar="DIR", default=None, help="where to (default: runs/DATA-METHOD-ipcIPC)")
    _source_flags(parser)
    parser.add_argument("--time-limit", default=None, metavar="TIME", help="stop in good order after 90s, 10m or 2h")
    parser.add_argument("--overwrite", action="store_true", help="discard a finished or begun run in --out")
    _recipe_flags(parser, "the recipe", own={"method": "m3d", "preset": "quick", "ipc": 10, "seed": 0})
    _config_flag(parser, "a YAML or JSON file of these settings, or a condensed set, whose run is repeated")
    return _execution_flags(parser)


def _evaluate_parser() -> ArgumentParser:
    parser = _new(description="Train networks from scratch and test them. Scores of condensed sets are stored in them.")
    parser.add_argument("subjects", nargs="+", metavar="SET", help="folders of condensed sets; or a data set")
    parser.add_argument("--data", default=None, help="test on this instead of the set's own source: " + DATA_HELP)
    parser.add_argument("--random", action="store_true", help="score random selections beside it, one a network")
    parser.add_argument("--whole", action="store_true", help="score the whole data set beside it")
    parser.add_argument("--ipc", type=int, default=10, help="of --random where no set says it (default: 10)")
    _scoring_flags(parser)
    parser.add_argument("--seed", type=int, default=0, help="of all of them (default: 0)")
    parser.add_argument("--flip", type=bool, default=None, help="mirror images (default: as the set was condensed)")
    _source_flags(parser)
    _config_flag(parser, "a YAML or JSON file of these settings")
    return _execution_flags(parser)


def _compare_parser() -> ArgumentParser:
    parser = _new(description=COMPARE_HELP)
    parser.add_argument("data", nargs="?", default=None, help=DATA_HELP)
    parser.add_argument("--out", metavar="DIR", default=None, help="where to (default: runs/compare-DATA)")
    names, default = ("all", *METHODS), ["all"]
    shown = f"all (the default), or some of {', '.join(METHODS)}"
    parser.add_argument("--methods", nargs="+", choices=names, default=default, metavar="NAME", help=shown)
    parser.add_argument("--ipc", type=int, nargs="+", default=[10], help="stored images per class (default: 10)")
    parser.add_argument("--preset", default="quick", help="quick or paper (default: quick)")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="sets of each kind (default: 3)")
    parser.add_argument("--seed", type=int, default=0, help="of the first of them, and of all networks (default: 0)")
    limit = "for each method and set, such as 90s, 10m or 2h: it makes the iterations that a trial finds to fit"
    parser.add_argument("--time-limit", default=None, metavar="TIME", help=limit)
    parser.add_argument("--no-random", action="store_true", help="leave the random selection out, else always there")
    parser.add_argument("--no-whole", action="store_true", help="leave the whole data set out, else always there")
    _scoring_flags(parser, "in place of the protocol's, on sets; at most, on the whole data set")
    parser.add_argument(
        "--sort",
        type=Literal["accuracy", "seconds", "method", "bytes"],
        default="accuracy",
        help="the table by accuracy (the default), seconds, method or bytes",
    )
    parser.add_argument("--overwrite", action="store_true", help="discard the comparison in --out, and its sets")
    _source_flags(parser)
    _recipe_flags(parser, "the recipes of all methods that take steps, in place of the preset's values")
    _config_flag(parser, "a YAML or JSON file of these settings")
    return _execution_flags(parser)


def _inspect_parser() -> ArgumentParser:
    parser = _new(description="Read a data set, print what it holds, and draw a few images of each class.")
    parser.add_argument("data", nargs="?", default=None, help=DATA_HELP)
    where = "the picture (default: DATA-contact-sheet.png in the current folder)"
    parser.add_argument("--out", type=str, metavar="FILE", default=None, help=where)
    parser.add_argument("--json", action="store_true", help="print JSON in place of text")
    _source_flags(parser)
    return _quiet_flag(parser)


def _cache_parser() -> ArgumentParser:
    text = "List or remove decoded images, trained networks and compiled code that spare work in later runs."
    where = "M3D_CACHE says where they are kept, M3D_CACHE_LIMIT how many GiB of images."
    parser = _new(description=f"{text} {where}")
    parser.add_argument("action", type=Literal["list", "remove"], help="list, or remove")
    parser.add_argument("names", nargs="*", default=[], metavar="NAME", help="as listed, or a kind such as images")
    parser.add_argument("--all", action="store_true", help="remove all")
    return _quiet_flag(parser)


def _recipe_flags(parser: ArgumentParser, title: str, own: Mapping[str, Any] | None = None) -> None:
    """Add a flag for each setting; those that name a run (its method and seed, say) only with defaults of its own."""
    types = {"int": int, "float": float, "bool": bool, "str": str}
    group = parser.add_argument_group(title)
    for name, text in _documented(Recipe).items():
        if own is None and name in NAMING:
            continue
        default = (own or {}).get(name)
        kind = types[str(Recipe.__dataclass_fields__[name].type)]
        shown = text if default is None else f"{text} (default: {default})"
        group.add_argument(flag(Setting(name)), type=kind, default=default, help=shown, metavar=_metavar(name))


def _scoring_flags(parser: ArgumentParser, epochs: str = "in place of the protocol's") -> None:
    parser.add_argument("--networks", nargs="+", default=["convnet"], metavar="NAME", help=NETWORKS_HELP)
    parser.add_argument("--protocol", default="quick", help=f"{', '.join(PROTOCOLS)} (default: quick)")
    parser.add_argument("--repeats", type=int, default=3, metavar="N", help="networks of each kind (default: 3)")
    parser.add_argument("--epochs", type=int, default=None, help=epochs)
    parser.add_argument("--json", action="store_true", help="print JSON in place of a table")


def _new(**keywords: Any) -> ArgumentParser:
    return ArgumentParser(exit_on_error=False, formatter_class=argparse.HelpFormatter, **keywords)


def _source_flags(parser: ArgumentParser) -> None:
    parser.add_argument("--size", type=int, default=None, help="resize and crop the images to so many pixels a side")
    parser.add_argument("--image-column", default=None, metavar="NAME", help="default: the one of images")
    parser.add_argument("--label-column", default=None, metavar="NAME", help="default: the one of labels")
    parser.add_argument("--split-seed", type=int, default=0, help="of the test split, where the data has none")


def _config_flag(parser: ArgumentParser, text: str) -> None:
    parser.add_argument("--config", default=None, metavar="PATH", help=text + "; flags win over it")


def _execution_flags(parser: ArgumentParser) -> ArgumentParser:
    group = parser.add_argument_group("the machine")
    group.add_argument("--device", default="auto", help="auto, or a torch device such as cpu or cuda:1")
    group.add_argument(
        "--precision", type=Literal["auto", "float32", "tf32", "bfloat16"], default="auto", help="of the networks"
    )
    own = "run ConvNet's blocks in this package's own code, on a CPU and in float32"
    group.add_argument("--native", type=bool, default=True, help=own)
    group.add_argument(
        "--compile", type=Literal["auto", "yes", "no"], default="auto", help="the rest; auto: where it pays back"
    )
    group.add_argument(
        "--memory", type=float, default=0.0, metavar="GIB", help="for activations; 0 lets the device decide"
    )
    return _quiet_flag(parser, group)


def _quiet_flag(parser: ArgumentParser, group: Any = None) -> ArgumentParser:
    (group or parser).add_argument("-q", "--quiet", action="store_true", help="no notices and no progress")
    return parser


def _apply_config(arguments: Sequence[str], commands: dict[str, ArgumentParser]) -> None:
    """Make the settings of --config, if one is given, the defaults of its command."""
    finder = argparse.ArgumentParser(add_help=False, exit_on_error=False, allow_abbrev=False)
    finder.add_argument("--config")
    path = finder.parse_known_args(list(arguments))[0].config
    parser = commands.get(arguments[0])
    if path is None or parser is None:
        return
    settings = _read_config(Path(path))
    known = {action.dest for action in parser._actions} - {"help", "config"}
    for name in settings:
        if name not in known:
            raise UserError(f"{path}: unknown setting {name!r}; the flags of m3d {arguments[0]} are the settings")
    lists = {action.dest for action in parser._actions if action.nargs == "+"}
    settings |= {name: [value] for name, value in settings.items() if name in lists and not isinstance(value, list)}
    try:
        parser.set_defaults({name: parser.parse_object({name: settings[name]})[name] for name in settings})
    except argparse.ArgumentError as error:
        raise UserError(f"{path}: {_plain(str(error))}") from None


def _read_config(path: Path) -> dict[str, Any]:
    if is_set(path):
        from m3d_condense.sets.condensed import CondensedSet

        condensed = CondensedSet.load(path.parent if path.name == "condensed.json" else path)
        source = {key: condensed.source.get(key) for key in SOURCE_KEYS}
        return condensed.settings | source | {"split_seed": condensed.source.get("seed", 0)}
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"--config {path}: cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise UserError(f"--config {path}: holds no settings, such as `ipc: 10`")
    return {str(name).replace("-", "_"): value for name, value in content.items()}


def flag(setting: Setting) -> str:
    """Write a setting as the command line has it: its flag, and its value."""
    name = setting.name.replace("_", "-")
    if setting.value is False and setting.name in ("random", "whole"):
        return f"--no-{name}"
    if setting.value is None or setting.value is True:
        return f"--{name}"
    return f"--{name} {str(setting.value).lower() if setting.value is False else setting.value}"


def is_set(path: str | Path) -> bool:
    """Whether a path is that of a condensed set, or of its condensed.json."""
    return Path(path).name == "condensed.json" or (Path(path) / "condensed.json").is_file()


def _plain(message: str) -> str:
    """Say a parser's complaint of a value in the words of the command line, on one line."""
    message = " ".join(message.split())
    match = re.search(r"""[Kk]ey "(\w+)":? .*?[Ee]xpected an? (.+?)\. Got value: (.*)""", message)
    if match is None:
        return message
    expected = re.sub(r"typing\.Literal|<class '(\w+)'>", r"\1", match[2])
    return f"{flag(Setting(match[1], match[3]))}: expected {expected}"


def _documented(record: type) -> dict[str, str]:
    """Return the fields of a dataclass and what its docstring says of each."""
    entries = re.findall(r"^ {8}(\w+): ((?:.|\n {12})+)", record.__doc__ or "", re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in entries}


def _metavar(name: str) -> str:
    return name.rsplit("_", 1)[-1].upper()
