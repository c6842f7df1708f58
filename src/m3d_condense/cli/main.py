"""The command line: parse, call, print. Torch is imported only once a command needs it."""

from __future__ import annotations

import errno
import json
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import Namespace

from m3d_condense.cli.arguments import NAMING, flag, is_set, parse
from m3d_condense.machine.memory import ran_out, too_little
from m3d_condense.machine.process import wait_politely
from m3d_condense.recipes.methods import METHODS
from m3d_condense.recipes.protocols import PROTOCOLS
from m3d_condense.recipes.recipe import Recipe
from m3d_condense.tools.errors import UserError, wording
from m3d_condense.tools.interrupt import termination_interrupts
from m3d_condense.tools.progress import notice, set_quiet

if TYPE_CHECKING:
    from m3d_condense.data.dataset import ImageDataset
    from m3d_condense.machine.engine import Execution
    from m3d_condense.sets.condensed import CondensedSet, Score
    from m3d_condense.studies.ledger import Comparison


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status: 0, 1 (the system's fault), 2 (the user's) or 130."""
    wait_politely()
    with wording(flag):
        return _guarded(sys.argv[1:] if argv is None else argv)


def _guarded(argv: Sequence[str]) -> int:
    """Run the command, and turn what goes wrong into one line and an exit status."""
    try:
        asked = parse(argv)
        if asked is None:
            return 2
        command, given = asked
        set_quiet(given.quiet)
        with termination_interrupts():
            return COMMANDS[command](given) or 0
    except UserError as error:
        return _complain(str(error), 2)
    except KeyboardInterrupt:
        return _complain("interrupted", 130)
    except BrokenPipeError:
        return 1
    except OSError as error:
        hint = "; free some space and run the same command again" if error.errno == errno.ENOSPC else ""
        return _complain(f"{error}{hint}", 1)
    except (MemoryError, RuntimeError) as error:
        if not ran_out(error):
            raise
        return _complain(too_little(), 1)


def _complain(message: str, status: int) -> int:
    print(f"m3d: {message}", file=sys.stderr)
    return status


def _condense(given: Namespace) -> None:
    from m3d_condense.condensing.condensation import condense
    from m3d_condense.sets.condensed import CondensedSet

    if given.out is not None:
        CondensedSet.check_target(given.out)
    dataset = _load(given)
    out = Path(given.out or Path("runs") / f"{dataset.name}-{given.method}-ipc{given.ipc}")
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
    from m3d_condense.condensing.condensation import random_selections
    from m3d_condense.scoring import evaluate, mirrored, source_of
    from m3d_condense.sets.condensed import CondensedSet

    common = {name: given[name] for name in ("protocol", "repeats", "seed", "epochs", "flip")}
    common["execution"] = _execution(given)
    rows: list[tuple[str, Score]] = []
    beside: dict[
        tuple[str, int], tuple[ImageDataset, bool]
    ] = {}  # what random selections and whole sets are drawn from
    for subject in given.subjects:
        if not is_set(subject):
            if not given.whole and not given.random:
                raise UserError(f"{subject}: not a condensed set; --whole or --random scores a data set itself")
            dataset = _load(given, subject)
            beside[dataset.fingerprint, given.ipc] = dataset, dataset.mirrored
            continue
        condensed = CondensedSet.load(subject)
        dataset = source_of(condensed, None if given.data is None else _load(given, given.data))
        beside[dataset.fingerprint, condensed.ipc] = dataset, mirrored(condensed, dataset)
        for network in given.networks:
            score = evaluate(condensed, dataset, network=network, **common)
            condensed.add_score(score, subject)
            rows.append((str(subject), score))
    scored_whole: set[str] = set()
    for (fingerprint, ipc), (dataset, flip) in beside.items():
        common["flip"] = flip if given.flip is None else given.flip
        of = f" of {dataset.name}" if len(beside) > 1 else ""
        for network in given.networks:
            if given.random:
                selections = random_selections(dataset, ipc, given.repeats, given.seed)
                score = evaluate(selections, dataset, network=network, **common)
                rows.append((f"random, {ipc} per class{of}", score))
            if given.whole and fingerprint not in scored_whole:
                rows.append((f"whole {dataset.name}", evaluate(dataset, network=network, **common)))
        scored_whole.add(fingerprint)
    _print_scores(rows, given.json)


def _print_scores(rows: Sequence[tuple[str, Score]], as_json: bool) -> None:
    from dataclasses import asdict

    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    if as_json:
        print(json.dumps([{"set": name} | asdict(score) for name, score in rows], indent=2))
        return
    table = Table("trained on", "network", "protocol", "n", "test accuracy, %")
    for name, score in rows:
        spread = f" ± {score.std:.1f}" if score.n > 1 else ""
        table.add_row(escape(name), score.network, score.protocol, str(score.n), f"{score.mean:.1f}{spread}")
    Console().print(table)


def _compare(given: Namespace) -> int:
    from m3d_condense.studies.comparison import compare

    dataset = _load(given)
    out = Path(given.out or Path("runs") / f"compare-{dataset.name}")
    sets = ("methods", "ipc", "preset", "seeds", "seed", "overwrite")
    scores = ("networks", "protocol", "repeats", "epochs", "sort")
    recipe = [field.name for field in fields(Recipe) if field.name not in NAMING]
    comparison = compare(
        dataset,
        out=out,
        random=not given.no_random,
        whole=not given.no_whole,
        time_limit=_seconds(given.time_limit),
        execution=_execution(given),
        **{name: given[name] for name in (*sets, *scores, *recipe)},
    )
    _print_comparison(comparison, given.json)
    notice(f"the table as CSV, Markdown and JSON, and the condensed sets: {out}")
    failed = f"{comparison.failed} of {len(comparison.jobs)} sets failed, as said below the table"
    return _complain(failed, 1) if comparison.failed else 0


def _print_comparison(comparison: Comparison, as_json: bool) -> None:
    from dataclasses import asdict

    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    if as_json:
        print(json.dumps([asdict(row) for row in comparison.rows], indent=2))
        return
    lines = comparison.table()
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in lines[0]:
        table.add_column(column, justify="left" if column in ("method", "network") else "right")
    for line in lines:
        table.add_row(*map(escape, line.values()))
    Console().print(table, *map(escape, comparison.notes()), highlight=False, sep="\n")


def _inspect(given: Namespace) -> int:
    from m3d_condense.cli import inspecting

    return inspecting.run(given)


def _cache(given: Namespace) -> int:
    from m3d_condense.cli import caching

    return caching.run(given)


def _info(given: Namespace) -> None:
    from rich.console import Console
    from rich.table import Table

    from m3d_condense.data.sources import NAMES
    from m3d_condense.machine import native
    from m3d_condense.machine.engine import Engine, has_compiler
    from m3d_condense.machine.environment import describe_environment
    from m3d_condense.machine.process import recycle_pages
    from m3d_condense.networks import NAMES as NETWORKS

    engine = Engine(_execution(given))
    versions, hardware = describe_environment()
    table = Table(show_header=False, box=None)
    table.add_row("versions", ", ".join(f"{name} {number}" for name, number in versions.items()))
    table.add_row("machine", ", ".join(f"{name} {value}" for name, value in hardware.items()))
    table.add_row("will use", engine.describe())
    found = "compiled on first use" if native.compiler() else "no compiler found: never"
    table.add_row("native blocks", f"of ConvNets, {found}" if engine.device.type == "cpu" else "on a CPU only")
    table.add_row("compilation", "where it pays back" if has_compiler(engine.device) else "no compiler found: never")
    table.add_row("memory", f"{engine.budget / 2**30:.1f} GiB for the activations of one chunk of classes")
    if engine.device.type == "cpu":
        table.add_row("freed pages", "kept and used again" if recycle_pages() else "handed back to the system")
    for name, method in METHODS.items():
        table.add_row(f"method {name}", method.title)
    for name, protocol in PROTOCOLS.items():
        table.add_row(f"protocol {name}", f"{protocol.epochs} epochs, batch {protocol.batch}, {protocol.schedule}")
    table.add_row("networks", ", ".join((*NETWORKS, "module:callable", "timm:NAME")))
    table.add_row("data by name", f"{', '.join(NAMES)}; digits are embedded, the others come from the hub")
    Console().print(table)


def _load(given: Namespace, data: str | None = None) -> ImageDataset:
    from m3d_condense.data.load import load

    if data is None:
        if given.data is None:
            raise UserError("no data given; m3d condense digits tries it on the embedded set")
        data = given.data
    columns = {"image_column": given.image_column, "label_column": given.label_column}
    return load(data, size=given.size, seed=given.split_seed, **columns)


def _execution(given: Namespace) -> Execution:
    from m3d_condense.machine.engine import Execution

    return Execution(**{field.name: given[field.name] for field in fields(Execution)})


def _seconds(text: str | float | None) -> float | None:
    """Read 90, 90s, 10m or 2h."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", str(text).strip())
    if match is None:
        raise UserError("a number with s, m or h, such as 10m", setting="time_limit", value=text)
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]


COMMANDS: dict[str, Callable[[Namespace], int | None]] = {
    "condense": _condense,
    "evaluate": _evaluate,
    "compare": _compare,
    "inspect": _inspect,
    "cache": _cache,
    "info": _info,
}

if __name__ == "__main__":
    sys.exit(main())
