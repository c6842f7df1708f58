"""The command line: parse, call, print. Torch is imported only once a command needs it."""

from __future__ import annotations

import argparse
import errno
import json
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml
from jsonargparse import ArgumentParser, Namespace

from m3d_condense.errors import UserError
from m3d_condense.methods import METHODS
from m3d_condense.progress import notice, set_quiet
from m3d_condense.protocols import PROTOCOLS
from m3d_condense.recipe import Recipe, flag
from m3d_condense.threads import wait_politely

if TYPE_CHECKING:
    from m3d_condense.condensed import CondensedSet, Score
    from m3d_condense.data import ImageDataset
    from m3d_condense.engine import Execution

DATA_HELP = (
    "a name (digits, mnist, fashion-mnist, svhn, cifar10, cifar100), a hub id (owner/name or owner/name:config), "
    "a folder of images in a folder per class (or train/ and test/ of those), parquet files, or an .npz"
)
SOURCE_KEYS = ("data", "size", "image_column", "label_column")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status: 0, 1 (the system's fault), 2 (the user's) or 130."""
    wait_politely()
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        parser, commands = _parser()
        if not arguments:
            parser.print_help()
            return 2
        _apply_config(arguments, commands)
        parsed = parser.parse_args(arguments)
        command = parsed[parsed.subcommand]
        set_quiet(command.get("quiet", False))
        COMMANDS[parsed.subcommand](command)
    except UserError as error:
        return _complain(str(error), 2)
    except argparse.ArgumentError as error:
        return _complain(_plain(str(error)), 2)
    except KeyboardInterrupt:
        return _complain("interrupted", 130)
    except BrokenPipeError:
        return 1
    except OSError as error:
        hint = "; free some space and run the same command again" if error.errno == errno.ENOSPC else ""
        return _complain(f"{error}{hint}", 1)
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not re.search("can't allocate memory|out of memory", str(error)):
            raise
        return _complain("out of memory; --memory with fewer GiB, or a smaller --size, needs less", 1)
    return 0


def _plain(message: str) -> str:
    """Say a parser's complaint of a value in the words of the command line, on one line."""
    message = " ".join(message.split())
    match = re.search(r"""[Kk]ey "(\w+)":? .*?[Ee]xpected an? (.+?)\. Got value: (.*)""", message)
    if match is None:
        return message
    expected = re.sub(r"typing\.Literal|<class '(\w+)'>", r"\1", match[2])
    return f"{flag(match[1])} {match[3]}: expected {expected}"


def _complain(message: str, status: int) -> int:
    print(f"m3d: {message}", file=sys.stderr)
    return status


def _condense(given: Namespace) -> None:
    from m3d_condense.condensation import condense
    from m3d_condense.condensed import CondensedSet

    if given.out is not None:
        CondensedSet.check_target(given.out)
    dataset = _load(given)
    out = Path(given.out or Path("runs") / f"{dataset.name}-{given.method}-ipc{given.ipc}")
    CondensedSet.check_target(out)
    settings = {field.name: given[field.name] for field in fields(Recipe)}
    condensed = condense(
        dataset,
        out=out,
        overwrite=given.overwrite,
        time_limit=_seconds(given.time_limit),
        execution=_execution(given),
        **settings,
    )
    notice(_summary(condensed, dataset, out))
    print(out)


def _summary(condensed: CondensedSet, dataset: ImageDataset, out: Path) -> str:
    share = 100 * len(condensed.images) / len(dataset.train)
    return (
        f"{len(condensed.images)} images for {len(dataset.train)} ({share:.2g} %), "
        f"{condensed.nbytes / 1024:.0f} KiB, in {condensed.seconds:.0f} s; look at {out / 'preview.png'}, "
        f"score with: m3d evaluate {out}"
    )


def _evaluate(given: Namespace) -> None:
    from m3d_condense.condensed import CondensedSet
    from m3d_condense.scoring import evaluate, random_selections, source_of

    common = {name: given[name] for name in ("protocol", "repeats", "seed", "epochs", "flip")}
    common["execution"] = _execution(given)
    rows: list[tuple[str, Score]] = []
    extra: tuple[ImageDataset, int] | None = None  # what the whole set and the random selections are drawn from
    for subject in given.subjects:
        if not _is_set(subject):
            if not given.whole and not given.random:
                raise UserError(f"{subject}: not a condensed set; --whole or --random scores a data set itself")
            extra = _load(given, subject), given.ipc
            continue
        condensed = CondensedSet.load(subject)
        dataset = source_of(condensed, None if given.data is None else _load(given, given.data))
        extra = dataset, condensed.ipc
        for network in given.networks:
            score = evaluate(condensed, dataset, network=network, **common)
            condensed.add_score(score, subject)
            rows.append((str(subject), score))
    if extra is not None:
        dataset, ipc = extra
        for network in given.networks:
            if given.random:
                selections = random_selections(dataset, ipc, given.repeats, given.seed)
                score = evaluate(selections, dataset, network=network, **common)
                rows.append((f"random, {ipc} per class", score))
            if given.whole:
                rows.append((f"whole {dataset.name}", evaluate(dataset, network=network, **common)))
    _print_scores(rows, given.json)


def _print_scores(rows: Sequence[tuple[str, Score]], as_json: bool) -> None:
    from dataclasses import asdict

    from rich.console import Console
    from rich.table import Table

    if as_json:
        print(json.dumps([{"set": name} | asdict(score) for name, score in rows], indent=2))
        return
    table = Table("trained on", "network", "protocol", "n", "test accuracy, %")
    for name, score in rows:
        spread = f" ± {score.std:.1f}" if score.n > 1 else ""
        table.add_row(name, score.network, score.protocol, str(score.n), f"{score.mean:.1f}{spread}")
    Console().print(table)


def _info(given: Namespace) -> None:
    from rich.console import Console
    from rich.table import Table

    from m3d_condense.engine import Engine, has_compiler, recycle_pages
    from m3d_condense.environment import describe_environment

    engine = Engine(_execution(given))
    versions, hardware = describe_environment()
    table = Table(show_header=False, box=None)
    table.add_row("versions", ", ".join(f"{name} {number}" for name, number in versions.items()))
    table.add_row("machine", ", ".join(f"{name} {value}" for name, value in hardware.items()))
    table.add_row("will use", engine.describe())
    table.add_row("compilation", "where it pays back" if has_compiler(engine.device) else "no compiler found: never")
    table.add_row("memory", f"{engine.budget / 2**30:.1f} GiB for the activations of one chunk of classes")
    if engine.device.type == "cpu":
        table.add_row("freed pages", "kept and used again" if recycle_pages() else "handed back to the system")
    for name, method in METHODS.items():
        table.add_row(f"method {name}", method.title)
    for name, protocol in PROTOCOLS.items():
        table.add_row(f"protocol {name}", f"{protocol.epochs} epochs, batch {protocol.batch}, {protocol.schedule}")
    table.add_row("data by name", "digits (embedded), mnist, fashion-mnist, svhn, cifar10, cifar100 (from the hub)")
    Console().print(table)


COMMANDS: dict[str, Callable[[Namespace], None]] = {"condense": _condense, "evaluate": _evaluate, "info": _info}


def _parser() -> tuple[ArgumentParser, dict[str, ArgumentParser]]:
    parser = _new(prog="m3d", description="A few synthetic images per class in place of a whole data set.")
    subparsers = parser.add_subcommands(title="commands", metavar="COMMAND")
    commands = {
        "condense": (_condense_parser(), "make a condensed set of a labelled image data set"),
        "evaluate": (_evaluate_parser(), "train networks on a condensed set and test them on real images"),
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
    defaults: dict[str, Any] = {"method": "m3d", "preset": "quick", "ipc": 10, "seed": 0}
    types = {"int": int, "float": float, "bool": bool, "str": str}
    group = parser.add_argument_group("the recipe")
    for name, text in _documented(Recipe).items():
        default = defaults.get(name)
        kind = types[str(Recipe.__dataclass_fields__[name].type)]
        shown = text if default is None else f"{text} (default: {default})"
        group.add_argument(flag(name), type=kind, default=default, help=shown, metavar=_metavar(name))
    _config_flag(parser, "a YAML or JSON file of these settings, or a condensed set, whose run is repeated")
    return _execution_flags(parser)


def _evaluate_parser() -> ArgumentParser:
    parser = _new(description="Train networks from scratch and test them. Scores of condensed sets are stored in them.")
    parser.add_argument("subjects", nargs="+", metavar="SET", help="folders of condensed sets; or a data set")
    parser.add_argument("--data", default=None, help="test on this instead of the set's own source: " + DATA_HELP)
    parser.add_argument("--random", action="store_true", help="score random selections beside it, one a network")
    parser.add_argument("--whole", action="store_true", help="score the whole data set beside it")
    parser.add_argument("--ipc", type=int, default=10, help="of --random where no set says it (default: 10)")
    parser.add_argument("--networks", nargs="+", default=["convnet"], metavar="NAME", help="default: convnet")
    parser.add_argument("--protocol", default="quick", help=f"{', '.join(PROTOCOLS)} (default: quick)")
    parser.add_argument("--repeats", type=int, default=3, metavar="N", help="networks of each kind (default: 3)")
    parser.add_argument("--seed", type=int, default=0, help="of all of them (default: 0)")
    parser.add_argument("--epochs", type=int, default=None, help="in place of the protocol's")
    parser.add_argument("--flip", type=bool, default=None, help="mirror images (default: unless they are digits)")
    parser.add_argument("--json", action="store_true", help="print JSON in place of a table")
    _source_flags(parser)
    _config_flag(parser, "a YAML or JSON file of these settings")
    return _execution_flags(parser)


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
    group.add_argument("--compile", type=Literal["auto", "yes", "no"], default="auto", help="auto: where it pays back")
    group.add_argument(
        "--memory", type=float, default=0.0, metavar="GIB", help="for activations; 0 lets the device decide"
    )
    group.add_argument("-q", "--quiet", action="store_true", help="no notices and no progress")
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
    try:
        parser.set_defaults({name: parser.parse_object({name: settings[name]})[name] for name in settings})
    except argparse.ArgumentError as error:
        raise UserError(f"{path}: {_plain(str(error))}") from None


def _read_config(path: Path) -> dict[str, Any]:
    if _is_set(path):
        from m3d_condense.condensed import CondensedSet

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


def _is_set(path: str | Path) -> bool:
    return Path(path).name == "condensed.json" or (Path(path) / "condensed.json").is_file()


def _load(given: Namespace, data: str | None = None) -> ImageDataset:
    from m3d_condense.data import load

    if data is None:
        if given.data is None:
            raise UserError("no data given; m3d condense digits tries it on the embedded set")
        data = given.data
    columns = {"image_column": given.image_column, "label_column": given.label_column}
    return load(data, size=given.size, seed=given.split_seed, **columns)


def _execution(given: Namespace) -> Execution:
    from m3d_condense.engine import Execution

    return Execution(**{field.name: given[field.name] for field in fields(Execution)})


def _seconds(text: str | float | None) -> float | None:
    """Read 90, 90s, 10m or 2h."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", str(text).strip())
    if match is None:
        raise UserError(f"--time-limit {text}: a number with s, m or h, such as 10m")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]


def _documented(record: type) -> dict[str, str]:
    """Return the fields of a dataclass and what its docstring says of each."""
    entries = re.findall(r"^ {8}(\w+): ((?:.|\n {12})+)", record.__doc__ or "", re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in entries}


def _metavar(name: str) -> str:
    return name.rsplit("_", 1)[-1].upper()


if __name__ == "__main__":
    sys.exit(main())
