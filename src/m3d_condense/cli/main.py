"""The command line: parse, call, print. Torch is imported only once a command needs it."""

from __future__ import annotations

import contextlib
import errno
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import Namespace

from m3d_condense.cli import streams
from m3d_condense.cli.arguments import NAMING, parse
from m3d_condense.cli.settings import execution, load_data, seconds
from m3d_condense.cli.wording import flag
from m3d_condense.machine.memory import ran_out, too_little
from m3d_condense.machine.process import wait_politely
from m3d_condense.recipes.recipe import Recipe
from m3d_condense.tools.errors import UserError, wording
from m3d_condense.tools.interrupt import termination_interrupts
from m3d_condense.tools.progress import notice, set_quiet

if TYPE_CHECKING:
    from m3d_condense.cli.entries import Entry
    from m3d_condense.sets.condensed import Score


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status: 0, 1 (the system's fault), 2 (the user's) or 130."""
    wait_politely()
    streams.prepare()
    with wording(flag):
        status = _guarded(sys.argv[1:] if argv is None else argv)
    streams.settle()
    return status


def _guarded(argv: Sequence[str]) -> int:
    """Run the command, and turn what goes wrong into one line and an exit status."""
    try:
        status = _run(argv)
        sys.stdout.flush()
        return status
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


def _run(argv: Sequence[str]) -> int:
    try:
        asked = parse(argv)
    except SystemExit as end:  # the help that was asked for is printed
        return int(end.code or 0)
    if asked is None:
        return 2
    command, given = asked
    set_quiet(given.quiet)
    with termination_interrupts():
        return COMMANDS[command](given)


def _complain(message: str, status: int) -> int:
    with contextlib.suppress(OSError):  # nobody can be told
        print(f"m3d: {message}", file=sys.stderr)
    return status


def _condense(given: Namespace) -> int:
    from m3d_condense.cli.tables import summary
    from m3d_condense.condensing.condensation import condense
    from m3d_condense.sets.condensed import CondensedSet

    limit, running = seconds(given.time_limit), execution(given)
    if given.out is not None:
        CondensedSet.check_target(given.out)
    dataset = load_data(given, given.data)
    out = Path(given.out or Path("runs") / f"{dataset.name}-{given.method}-ipc{given.ipc}")
    settings = {field.name: given[field.name] for field in fields(Recipe)}
    condensed = condense(dataset, out=out, overwrite=given.overwrite, time_limit=limit, execution=running, **settings)
    notice(summary(condensed, dataset, out))
    print(out)
    return 0


def _evaluate(given: Namespace) -> int:
    from m3d_condense.cli.entries import entries
    from m3d_condense.cli.tables import print_scores
    from m3d_condense.scoring import evaluate

    common = {name: given[name] for name in ("protocol", "repeats", "seed", "epochs")}
    common["execution"] = execution(given)
    rows: list[tuple[str, Score]] = []
    unstored: list[str] = []
    found = entries(given)
    try:
        for entry in found:
            for network in given.networks:
                score = evaluate(entry.trained_on, entry.dataset, network=network, flip=entry.flip, **common)
                rows.append((entry.name, score))
                unstored += _store(score, entry)
    finally:  # what was measured is shown, whatever comes after it
        if rows:
            print_scores(rows, given.json)
            sys.stdout.flush()
    for problem in dict.fromkeys(unstored):
        _complain(problem, 1)
    return 1 if unstored else 0


def _store(score: Score, entry: Entry) -> list[str]:
    """Store a score in its set, if it is of one; return what went wrong, which is no reason to lose the score."""
    from m3d_condense.sets.condensed import CondensedSet

    if entry.folder is None or not isinstance(entry.trained_on, CondensedSet):
        return []
    try:
        entry.trained_on.add_score(score, entry.folder)
    except (OSError, UserError) as error:
        return [f"{entry.folder}: its scores, printed above, could not be stored: {error}"]
    return []


def _compare(given: Namespace) -> int:
    from m3d_condense.cli.tables import print_comparison
    from m3d_condense.studies.comparison import compare

    limit, running = seconds(given.time_limit), execution(given)
    dataset = load_data(given, given.data)
    out = Path(given.out or Path("runs") / f"compare-{dataset.name}")
    sets = ("methods", "ipc", "preset", "seeds", "seed", "overwrite")
    scores = ("networks", "protocol", "repeats", "epochs", "sort")
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
    print_comparison(comparison, given.json)
    notice(f"the table as CSV, Markdown and JSON, and the condensed sets: {out}")
    failed = f"{comparison.failed} of {len(comparison.jobs)} sets failed, as said below the table"
    return _complain(failed, 1) if comparison.failed else 0


def _info(given: Namespace) -> int:
    from m3d_condense.cli.tables import print_info
    from m3d_condense.machine.engine import Engine

    print_info(Engine(execution(given)))
    return 0


def _inspect(given: Namespace) -> int:
    from m3d_condense.cli import inspecting

    return inspecting.run(given)


def _cache(given: Namespace) -> int:
    from m3d_condense.cli import caching

    return caching.run(given)


COMMANDS: dict[str, Callable[[Namespace], int]] = {
    "condense": _condense,
    "evaluate": _evaluate,
    "compare": _compare,
    "inspect": _inspect,
    "cache": _cache,
    "info": _info,
}

if __name__ == "__main__":
    sys.exit(main())
