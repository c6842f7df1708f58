"""The flags that several commands share."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any, Literal

from jsonargparse import ArgumentParser

from m3d_condense.cli.wording import flag
from m3d_condense.data.imagenet import SUBSETS
from m3d_condense.recipes.methods import METHODS
from m3d_condense.recipes.protocols import PROTOCOLS
from m3d_condense.recipes.recipe import meanings
from m3d_condense.tools.errors import Setting

DATA_HELP = (
    "a name (digits, mnist, fashion-mnist, svhn, cifar10, cifar100, imagenet-10, imagenet-100, imagenette, "
    "imagewoof); a data set of the Hugging Face hub (owner/name, or owner/name:config); a folder with a sub-folder of "
    "images for each class, or with "
    "train/ and test/ above those; a parquet file, or a folder of them; an .npz or .mat file; or "
    "the binary files of MNIST, CIFAR or SVHN as they are downloaded"
)
NETWORK_HELP = (
    "architecture to train: convnet (its depth follows from the images' size), convnetD with depth D, resnet10, "
    "resnet18, resnetap10 or densenet121, each with -widthN (of a DenseNet -growthN) for another width and with -batch "
    "or -group for another norm, such as resnet10-width32-batch; module:callable; timm:NAME (default: convnet)"
)
NETWORKS_HELP = NETWORK_HELP.replace("architecture", "architectures", 1)
NAMING = ("method", "preset", "ipc", "seed")  # settings that m3d compare varies, or has flags of its own for
RANDOM_IPC = 10  # images per class of random selections, where no condensed set says how many
METAVARS = {int: "N", float: "X", str: "NAME", bool: "{true,false}"}


def new_parser(**keywords: Any) -> ArgumentParser:
    """Return a parser that raises its mistakes and takes no shortened flags."""
    return ArgumentParser(
        exit_on_error=False, allow_abbrev=False, formatter_class=argparse.HelpFormatter, add_help=True, **keywords
    )


def recipe_flags(parser: ArgumentParser, title: str, own: Mapping[str, Any] | None = None) -> None:
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


def scoring_flags(parser: ArgumentParser, epochs: str) -> None:
    """Add the flags of how networks score a set."""
    parser.add_argument("--networks", type=str, nargs="+", default=["convnet"], metavar="NAME", help=NETWORKS_HELP)
    trained = f"how networks are trained: {', '.join(PROTOCOLS)} (default: quick)"
    parser.add_argument("--protocol", type=str, default="quick", metavar="NAME", help=trained)
    number_flag(parser, "--repeats", 3, "networks of each architecture to train on each set")
    parser.add_argument("--epochs", type=int, metavar="N", help=f"passes over the training images, {epochs}")
    readings_flag(parser)
    parser.add_argument("--json", action="store_true", help="print JSON in place of a table")


def readings_flag(parser: ArgumentParser) -> None:
    """Add ``--readings``."""
    text = "readings of the accuracy in each training; the best one is shown beside that of the last state"
    number_flag(parser, "--readings", 1, text)


def table_flags(parser: ArgumentParser, noun: str, kind: str, seeds: int) -> None:
    """Add the flags of a table of sets: how many of each kind, the time of each, and where all is kept."""
    number_flag(parser, "--seeds", seeds, f"sets of each {kind}, each with a seed of its own")
    number_flag(parser, "--seed", 0, "seed of the first of them, and of all networks")
    limit = "time for each set, such as 90s, 10m or 2h; a short trial finds how many iterations fit in it"
    parser.add_argument("--time-limit", type=str, metavar="TIME", help=limit)
    parser.add_argument("--preset", type=str, default="quick", metavar="NAME", help="quick or paper (default: quick)")
    by = "sort the table by accuracy, seconds, method or bytes (default: accuracy)"
    orders = Literal["accuracy", "seconds", "method", "bytes"]
    parser.add_argument("--sort", type=orders, default="accuracy", help=by)
    parser.add_argument("--overwrite", action="store_true", help=f"discard the {noun} in --out, and its sets")


def data_argument(parser: ArgumentParser) -> None:
    """Add the data set, by its place."""
    parser.add_argument("data", nargs="?", metavar="DATA", help="the data set: " + DATA_HELP)


def set_argument(parser: ArgumentParser, text: str = "folder of a condensed set, or its id on the hub") -> None:
    """Add the condensed set, by its place."""
    parser.add_argument("set", nargs="?", type=str, metavar="SET", help=text)


def number_flag(parser: ArgumentParser, name: str, default: int, text: str) -> None:
    """Add a flag of a whole number."""
    parser.add_argument(name, type=int, default=default, metavar="N", help=f"{text} (default: {default})")


def source_flags(
    parser: ArgumentParser, of: str = "", classes: str = "which classes are read, and in what order"
) -> None:
    """Add the flags of how a data set is read."""
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
    picked = (
        f"{classes}: {', '.join(SUBSETS)}; a text file that lists them, one a line, by "
        "name or WordNet id; or several of them, here (default: all)"
    )
    parser.add_argument("--classes", type=str, nargs="+", default=[], metavar="NAME|FILE", help=picked)
    seed = "seed of the test split, where the data has none of its own (default: 0)"
    parser.add_argument("--split-seed", type=int, metavar="N", help=seed)  # None where it is not given


def config_flag(parser: ArgumentParser, sets: str = "") -> None:
    """Add ``--config``."""
    text = f"read settings, named as these flags, from a YAML or JSON file{sets}; flags that are given take precedence"
    parser.add_argument("--config", type=str, metavar="PATH", help=text)


def execution_flags(parser: ArgumentParser) -> ArgumentParser:
    """Add the flags of what a command runs on, and ``--quiet``."""
    group = parser.add_argument_group("the machine")
    device = "auto (a GPU where there is one), or a device of torch, such as cpu or cuda:1 (default: auto)"
    group.add_argument("--device", type=str, default="auto", metavar="NAME", help=device)
    precision = "precision of the networks; auto is bfloat16 where the hardware has it, but float32 in native blocks, "
    precision += "which multiply in bfloat16 where it is asked for and a processor has AVX512-BF16"
    precisions = Literal["auto", "float32", "tf32", "bfloat16"]
    group.add_argument("--precision", type=precisions, default="auto", help=f"{precision} (default: auto)")
    native = "compute ConvNet's and ResNetAP's blocks in this package's own code, on a CPU (default: true)"
    group.add_argument("--native", type=bool, default=True, help=native)
    compiled = "compile the networks that run in torch; auto compiles where that pays back (default: auto)"
    group.add_argument("--compile", type=Literal["auto", "yes", "no"], default="auto", help=compiled)
    memory = "GiB for the activations of one chunk of classes; 0 lets the device decide (default: 0)"
    group.add_argument("--memory", type=float, default=0.0, metavar="GIB", help=memory)
    return quiet_flag(parser, group)


def quiet_flag(parser: ArgumentParser, group: Any = None) -> ArgumentParser:
    """Add ``--quiet``."""
    (group or parser).add_argument("-q", "--quiet", action="store_true", help="show no notices and no progress")
    return parser


def _escaped(text: str) -> str:
    """Return a text as argparse takes it, which fills in what stands behind a %."""
    return text.replace("%", "%%")
