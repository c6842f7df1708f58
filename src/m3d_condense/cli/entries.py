"""What ``m3d evaluate`` scores: condensed sets, and beside them random selections of their sources, and the whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jsonargparse import Namespace

from m3d_condense import networks
from m3d_condense.cli.finding import Found, find
from m3d_condense.cli.flags import RANDOM_IPC
from m3d_condense.cli.settings import load_data, refuse_source_flags
from m3d_condense.condensing.condensation import random_selections
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.recipes import protocols
from m3d_condense.recipes.recipe import MOST_NETWORKS, check_count
from m3d_condense.sets.condensed import CondensedSet
from m3d_condense.sets.soft import HARD, SOFT, check_labels
from m3d_condense.sets.source import source_of
from m3d_condense.subjects import adapted, labels_of, mirrored
from m3d_condense.tools.errors import Setting, UserError
from m3d_condense.tools.progress import notice


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What networks are trained on for one entry of the table.

    Attributes:
        name: in the table.
        trained_on: a condensed set; random selections, one for each network; or a data set, for all of it.
        dataset: whose test split the networks are tested on.
        flip: whether a mirrored image keeps its class.
        folder: where the scores of a condensed set are stored; None for no set, and for one of the hub.
    """

    name: str
    trained_on: CondensedSet | ImageDataset | Sequence[CondensedSet]
    dataset: ImageDataset
    flip: bool
    folder: Path | None = None

    def labels(self, asked: str | None) -> list[str]:
        """Return the labels that networks are trained on in turn; soft ones come with hard ones before them.

        Random selections and whole data sets have hard ones, whatever is asked for.

        Raises:
            UserError: as of `labels_of`.
        """
        one = self.trained_on
        return [HARD, SOFT] if isinstance(one, CondensedSet) and labels_of([one], asked) == SOFT else [HARD]

    def class_bytes(self, labels: str) -> float:
        """Return the bytes a class of what one network is trained on, as stored."""
        first = self._first
        whole = first.bytes_for(labels) if isinstance(first, CondensedSet) else first.train.images.nbytes
        return whole / self.dataset.num_classes

    def own_epochs(self, protocol: str) -> int:
        """Return the epochs that a protocol has for it."""
        return adapted(protocol, self._first, None, self.flip).epochs

    @property
    def _first(self) -> CondensedSet | ImageDataset:
        one = self.trained_on
        return one if isinstance(one, CondensedSet | ImageDataset) else one[0]


@dataclass(frozen=True, kw_only=True)
class Source:
    """A data set that a subject stands for, to be scored beside it."""

    dataset: ImageDataset
    ipc: int
    flip: bool


def entries(given: Namespace) -> list[Entry]:
    """Load and check everything that is to be scored, before any network is trained.

    Raises:
        UserError: for a set, data, a network or a protocol that cannot be used.
    """
    if not given.sets:
        raise UserError("no set given; name the folders that m3d condense made")
    protocols.checked_epochs(given.protocol, given.epochs)
    check_count("repeats", given.repeats, least=1, most=MOST_NETWORKS)
    if given.labels is not None:
        check_labels(given.labels)
    sets, sources = _loaded(given)
    for one in sets:
        one.labels(given.labels)
    for dataset in {source.dataset.fingerprint: source.dataset for source in sources}.values():
        for name in given.networks:
            networks.build(name, **dataset.shape)
    return sets + _beside(sources, given)


def _loaded(given: Namespace) -> tuple[list[Entry], list[Source]]:
    """Load the subjects: return an entry for each condensed set, and the sources of all, each once for an ipc.

    A set that is named twice is scored once.
    """
    tested_on = None if given.data is None else load_data(given, given.data)
    sets: list[Entry] = []
    datasets: dict[str, ImageDataset] = {}  # so that sets of one source hold its images once
    sources: dict[tuple[str, int], Source] = {}
    known = {name: _found(name, given) for name in dict.fromkeys(given.sets)}
    if given.ipc is not None and not (given.random and None in known.values()):
        raise UserError(
            "goes with --random and a data set; a condensed set has its own", setting="ipc", value=given.ipc
        )
    drawn = RANDOM_IPC if given.ipc is None else given.ipc
    if tested_on is None and None not in known.values():
        refuse_source_flags(given, f"{Setting('data', 'DATA')}, or with data sets among those that are scored,")
    once = {name if found is None else found.folder.resolve(): name for name, found in reversed(known.items())}
    for name, found in known.items():
        if name not in once.values():
            continue
        condensed = None if found is None else CondensedSet.load(found.folder)
        loaded = load_data(given, name) if condensed is None else source_of(condensed, tested_on)
        dataset = datasets.setdefault(loaded.fingerprint, loaded)
        ipc = drawn if condensed is None else condensed.ipc
        flip = mirrored(condensed or dataset, dataset) if given.flip is None else given.flip
        sources.setdefault((dataset.fingerprint, ipc), Source(dataset=dataset, ipc=ipc, flip=flip))
        if found is not None and condensed is not None:
            folder = None if found.hub_id else found.folder
            sets.append(Entry(name=name, trained_on=condensed, dataset=dataset, flip=flip, folder=folder))
    return sets, list(sources.values())


def _found(name: str, given: Namespace) -> Found | None:
    """Find a condensed set; None for a data set, which is scored itself.

    Raises:
        UserError: it is no condensed set, and a data set is not asked for.
    """
    try:
        found = find(name)
    except UserError:  # the hub cannot be asked; it may be a data set that is in the cache
        if not (given.whole or given.random):
            raise
        return None
    if found is None and not (given.whole or given.random):
        raise UserError(f"{name}: not a condensed set; --whole or --random scores a data set itself")
    if found is not None and found.hub_id:
        notice(f"{name}: a set of the Hugging Face hub, in {found.folder}; its scores are printed, and stored nowhere")
    return found


def _beside(sources: Sequence[Source], given: Namespace) -> list[Entry]:
    """Draw the random selections of each source, and take the whole of each data set once, as far as asked for."""
    found: list[Entry] = []
    whole: set[str] = set()
    datasets = [source.dataset for source in sources]
    for source in sources:
        dataset, flip = source.dataset, source.flip
        called = _called(dataset, datasets)
        if given.random:
            name = f"random, {source.ipc} per class" + (f" of {called}" if len(sources) > 1 else "")
            drawn = random_selections(dataset, source.ipc, given.repeats, given.seed)
            found.append(Entry(name=name, trained_on=drawn, dataset=dataset, flip=flip))
        if given.whole and dataset.fingerprint not in whole:
            whole.add(dataset.fingerprint)
            found.append(Entry(name=f"whole {called}", trained_on=dataset, dataset=dataset, flip=flip))
    return found


def _called(dataset: ImageDataset, among: Sequence[ImageDataset]) -> str:
    """Return the name of a data set, with its size or fingerprint where others have that name."""
    others = [one for one in among if one.name == dataset.name and one.fingerprint != dataset.fingerprint]
    height, width = dataset.size
    if not others:
        return dataset.name
    if all(one.size != dataset.size for one in others):
        return f"{dataset.name}, {width}×{height} pixels"
    return f"{dataset.name}, {dataset.fingerprint[:15]}"
