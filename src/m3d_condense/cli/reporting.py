"""``m3d report``: finds the sets and their sources, has the facts gathered, and writes the page."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from jsonargparse import Namespace

from m3d_condense import networks
from m3d_condense.cli.config import SOURCE
from m3d_condense.cli.finding import Found, find, set_at
from m3d_condense.cli.settings import execution
from m3d_condense.cli.streams import as_shown
from m3d_condense.cli.wording import flag
from m3d_condense.condensing.condensation import recipe_for
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.machine.engine import Engine
from m3d_condense.machine.memory import readable
from m3d_condense.recipes import protocols
from m3d_condense.recipes.recipe import MOST_NETWORKS, check_count
from m3d_condense.report.comparing import Compared, is_comparison, of_folder
from m3d_condense.report.gathering import Asked, gather
from m3d_condense.report.page import check_target, write_page
from m3d_condense.report.trials import Setup
from m3d_condense.sets.condensed import CondensedSet
from m3d_condense.sets.folder import REPORT
from m3d_condense.sets.soft import HARD
from m3d_condense.sets.source import side_of, source_of
from m3d_condense.sets.stored import recipe_of
from m3d_condense.sets.text import one_line
from m3d_condense.studies.ledger import CELLS, SETS
from m3d_condense.tools.errors import Setting, UserError
from m3d_condense.tools.progress import notice


def run(given: Namespace) -> int:
    """Write the page, and print its path."""
    check_count("repeats", given.repeats, least=1, most=MOST_NETWORKS)
    if given.protocol is not None:
        protocols.protocol(given.protocol)
    named, compared = _named(given.sets)
    sets = [CondensedSet.load(one.folder) for one in named]
    out = Path(given.out) if given.out is not None else _target(named, compared)
    check_target(out)
    asked = Asked(
        network=given.network,
        protocol=given.protocol,
        repeats=given.repeats,
        training=not given.no_training,
        whole=not given.no_whole,
    )
    engine = Engine(execution(given))
    sources = _sources(sets, given.data)
    for condensed, dataset in zip(sets, sources, strict=True):
        _check_network(condensed, dataset, asked)
    names = _names(named)
    found = [
        gather(name, condensed, dataset, asked, engine, _command(condensed, dataset))
        for name, condensed, dataset in zip(names, sets, sources, strict=True)
    ]
    write_page(found, compared, out)
    notice(f"the report is one file of {readable(out.stat().st_size)}; open it in a browser")
    print(as_shown(str(out)))
    return 0


def _named(given: Sequence[str]) -> tuple[list[Found], list[Compared]]:
    """Find the sets to show, and read the lines of the comparison that is named."""
    if not given:
        raise UserError("no set given; name the folders that m3d condense or m3d compare made")
    sets: list[Found] = []
    compared: list[Compared] = []
    for name in given:
        if is_comparison(Path(name)):
            if compared:
                raise UserError(f"{name}: a second comparison; name one")
            compared = of_folder(Path(name))
            continue
        found = find(name)
        if found is None:
            raise UserError(f"{name}: neither a condensed set nor a comparison; sets of a study are in its sets/")
        sets.append(found)
    if not sets:
        best = _best(Path(given[0]))
        sets.append(Found(name=str(best), folder=best))
    return sets, compared


def _best(comparison: Path) -> Path:
    """Return the set of a comparison with the best score that is stored in its table."""
    from m3d_condense.studies.record import Record, read

    found = []
    for cell in sorted((comparison / CELLS).glob("*.json")):
        record = read(cell, Record, "run m3d compare again")
        folder = comparison / SETS / cell.stem
        means = [score.mean for score in record.scores.values() if score.labels == HARD]
        if means and set_at(folder) is not None:
            found.append((max(means), folder))
    if not found:
        raise UserError(f"{comparison}: has no condensed set with a score yet; name a set beside it")
    return max(found)[1]


def _target(sets: Sequence[Found], compared: Sequence[Compared]) -> Path:
    """Return the page's default path: in the one set that is shown and lies here, else in the current folder."""
    alone = len(sets) == 1 and not compared and sets[0].hub_id is None
    return sets[0].folder / REPORT if alone else Path(REPORT)


def _names(sets: Sequence[Found]) -> list[str]:
    """Return names that tell the sets apart, as short as may be."""
    short = [one_line(found.hub_id or found.folder.resolve().name) for found in sets]
    return short if len(set(short)) == len(short) else [one_line(found.name) for found in sets]


def _sources(sets: Iterable[CondensedSet], data: str | None) -> list[ImageDataset | None]:
    """Return the source of each set, loaded once; None, with a notice, where it is not to be had."""
    loaded: dict[str, ImageDataset | None] = {}
    found: list[ImageDataset | None] = []
    for condensed in sets:
        key = f"{condensed.source.get('fingerprint')} {side_of(condensed)}"
        if key not in loaded:
            try:
                loaded[key] = source_of(condensed, data)
            except UserError as error:
                if data is not None:
                    raise
                notice(f"{error}; the report shows what is stored")
                loaded[key] = None
        found.append(loaded[key])
    return found


def _check_network(condensed: CondensedSet, dataset: ImageDataset | None, asked: Asked) -> None:
    """Raise `UserError` for a network that takes no such images, before any work."""
    if dataset is not None:
        name = Setup.of(condensed, asked.network, asked.protocol).network
        networks.build(name, **dataset.shape)


def _command(condensed: CondensedSet, dataset: ImageDataset | None) -> str:
    """Return the command that makes a set again: its data, and the settings in which it differs from its preset's.

    Nothing where not all of it is known, as of a set that was made of arrays, or imported.
    """
    recipe, data = recipe_of(condensed), condensed.source.get("data")
    if recipe is None or dataset is None or not isinstance(data, str | list):
        return ""
    try:
        usual = asdict(recipe_for(dataset, recipe.method, recipe.preset, recipe.ipc, {}))
    except UserError:  # a method that this version has not
        return ""
    values = {name: condensed.source.get(key) for key, name in SOURCE.items() if key != "data"}
    values |= {"method": recipe.method, "preset": recipe.preset, "ipc": recipe.ipc, "seed": recipe.seed}
    values |= {name: value for name, value in asdict(recipe).items() if usual[name] != value}
    values["class_groups"] = condensed.settings.get("class_groups")
    grown_from = condensed.settings.get("start_from")
    if isinstance(grown_from, dict):
        values |= {"start_from": grown_from.get("set"), "keep_old": grown_from.get("kept")}
        if values["start_from"] is None:
            return ""
    told = {name: value for name, value in values.items() if value is not None and (name, value) != ("split_seed", 0)}
    paths = [data] if isinstance(data, str) else map(str, data)
    flags = [f"{flag(Setting(name))} {_shown(value)}" for name, value in told.items()]
    return " ".join(["m3d condense", *map(shlex.quote, paths), *flags])


def _shown(value: object) -> str:
    """Return a value as a flag takes it, or the values of a list."""
    if isinstance(value, list):
        return " ".join(map(_shown, value))
    return shlex.quote(str(value).lower() if isinstance(value, bool) else str(value))
