"""`train`: one network trained on a condensed set or a whole data set, tested, and kept in a file; or as plain code."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from m3d_condense import networks
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.data.load import load
from m3d_condense.machine.engine import Engine, load_optimisers
from m3d_condense.machine.execution import Execution
from m3d_condense.machine.group import current
from m3d_condense.recipes.given import Architecture, checked
from m3d_condense.recipes.protocols import Protocol
from m3d_condense.scoring import accuracies_of, repeat_seed, settings_of, trainer_for
from m3d_condense.sets.condensed import CondensedSet
from m3d_condense.sets.folder import is_condensed_set
from m3d_condense.sets.script import check_script, write_script
from m3d_condense.sets.source import source_of
from m3d_condense.sets.stored import StoredProtocol, stored_protocol
from m3d_condense.subjects import Subject, adapted, called, labels_of, mirrored, tested_on, told_of
from m3d_condense.tools.locks import alone
from m3d_condense.tools.stopwatch import Stopwatch
from m3d_condense.training.trained import TrainedNetwork, check_free, check_target


@checked
@torch.inference_mode(False)
@torch.enable_grad()
def train(
    subject: Any,
    data: Any = None,
    *,
    network: Architecture = "convnet",
    protocol: str | None = None,
    seed: int = 0,
    epochs: int | None = None,
    flip: bool | None = None,
    labels: str | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    execution: Execution | None = None,
) -> TrainedNetwork:
    """Train one network from scratch on a condensed set or a whole data set, and test it.

    It is the first of the networks that `evaluate` trains with the same settings and seed.

    Args:
        subject: a condensed set, or the folder of one; or anything `load` takes, whose whole training split is used.
        data: where the test split comes from, for a condensed set: anything `load` takes; by default its own source.
        network: the architecture: a name, or a class or function of a module.
        protocol: a key of `m3d_condense.recipes.protocols.PROTOCOLS`; by default the one of the set's newest score,
            with its epochs, and else "quick".
        seed: of the initialisation, order, augmentation and mixing.
        epochs: in place of the protocol's.
        flip: whether a mirrored image keeps its class; by default as in that score, as the set was condensed, or as the
            data set says.
        labels: "hard" or "soft" labels of a condensed set; by default soft ones where it has them.
        out: file to keep the network in, as safetensors; `load_network` reads it.
        overwrite: replace a trained network at `out`; any other file there is refused.
        execution: device, precision, compilation.

    Raises:
        UserError: for settings that cannot be used, test data of other classes or another size, or an `out` that is
            taken.
    """
    if out is not None:
        check_target(Path(out), overwrite)
    chosen = _subject(subject)
    dataset = tested_on(chosen, data)
    scored_by, flip = _followed(chosen, dataset, protocol, epochs, flip)
    labels = labels_of([chosen], labels)
    assert isinstance(network, str)  # `checked` has named it
    asked = chosen, dataset, network, scored_by, flip, seed, labels, Engine(execution)
    if out is None:
        return _trained(*asked)
    with current().held_by_first(lambda: alone(Path(out))):
        trained = _trained(*asked)
        check_free(Path(out), overwrite)  # of what has come there meanwhile
        trained.save(out)
    return trained


@checked
def export_script(
    condensed: CondensedSet, folder: str | Path, out: str | Path, data: Any = None, *, overwrite: bool = False
) -> Path:
    """Write the training of a stored set as plain PyTorch, by the protocol of its newest score, else "quick".

    Args:
        condensed: the set.
        folder: where it is stored, and read by the script.
        out: the script; its test images are written beside it.
        data: where those come from: anything `load` takes; by default the source that the set names.
        overwrite: write over an older script and its images; over nothing else.

    Raises:
        UserError: for test data that cannot be used, or an `out` that is taken.
    """
    check_script(Path(out), overwrite=overwrite)
    dataset = source_of(condensed, data)
    return write_script(
        condensed,
        out,
        folder=Path(folder),
        test=dataset.test,
        protocol=_followed(condensed, dataset, None, None, None)[0],
        network=stored_protocol(condensed).network,
        overwrite=overwrite,
    )


def _subject(given: Any) -> Subject:
    """Return what the network is trained on, read from its folder or source."""
    if isinstance(given, CondensedSet | ImageDataset):
        return given
    if isinstance(given, str | Path) and is_condensed_set(given):
        return CondensedSet.load(given)
    return load(given)


def _followed(
    subject: Subject, dataset: ImageDataset, name: str | None, epochs: int | None, flip: bool | None
) -> tuple[Protocol, bool]:
    """Return the protocol as it is run, and whether mirrored images keep their class.

    What is given comes first, then what the newest score of a set says, then the defaults.
    """
    stored = StoredProtocol()
    if name is None and isinstance(subject, CondensedSet):
        stored = stored_protocol(subject)
    if flip is None:
        flip = mirrored(subject, dataset) if stored.flip is None else stored.flip
    return adapted(name or stored.name, subject, stored.epochs if epochs is None else epochs, flip), flip


def _trained(
    subject: Subject,
    dataset: ImageDataset,
    architecture: str,
    protocol: Protocol,
    flip: bool,
    seed: int,
    labels: str,
    engine: Engine,
) -> TrainedNetwork:
    """Train and test the first of the networks that scoring would train."""
    load_optimisers()
    watch = Stopwatch()
    trainer = trainer_for(architecture, protocol, dataset, subject, 1, engine)
    ((accuracy,),) = accuracies_of(
        trainer, protocol, [subject], dataset, [repeat_seed(seed, 0)], f"Training {architecture}", labels
    )
    network = networks.build(architecture, **dataset.shape)
    network.load_state_dict(trainer.network.state_dict())
    return TrainedNetwork(
        network=network.eval(),
        architecture=architecture,
        channels=dataset.channels,
        size=dataset.size,
        class_names=dataset.class_names,
        mean=subject.mean,
        std=subject.std,
        accuracy=accuracy,
        protocol=protocol.name,
        settings=settings_of(protocol, trainer, dataset, seed, flip) | told_of([subject], labels),
        trained_on=_described(subject),
        tested_on={"name": dataset.name, "images": len(dataset.test), "fingerprint": dataset.fingerprint},
        seconds=round(watch.seconds, 3),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _described(subject: Subject) -> dict[str, Any]:
    """Say what a network was trained on."""
    count = len(subject.images) if isinstance(subject, CondensedSet) else len(subject.train)
    return {"name": called(subject), "images": count, "fingerprint": subject.fingerprint}
