"""`label`: soft labels for a condensed set, from an ensemble of networks that were trained on real images.

Shapes: N stored images, l factor, K classes, C×H×W pixels.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from m3d_condense import networks
from m3d_condense.condensing import objectives
from m3d_condense.condensing.encoders.pool import PoolEncoders
from m3d_condense.condensing.encoders.source import Material
from m3d_condense.condensing.plan import plan
from m3d_condense.condensing.view import Encoder
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.machine.engine import Engine, at_once
from m3d_condense.machine.execution import Execution
from m3d_condense.machine.group import current
from m3d_condense.recipes.given import checked, of_kind, several
from m3d_condense.recipes.names import imports_code
from m3d_condense.recipes.recipe import LARGEST, Recipe
from m3d_condense.sets.condensed import CondensedSet
from m3d_condense.sets.folder import store_soft_labels
from m3d_condense.sets.soft import SoftLabels
from m3d_condense.sets.source import source_of
from m3d_condense.sets.stored import is_grouped, recipe_of
from m3d_condense.tools.digests import digest_of
from m3d_condense.tools.errors import Setting, UserError
from m3d_condense.tools.locks import check_writable
from m3d_condense.tools.places import CONDENSED
from m3d_condense.tools.progress import notice
from m3d_condense.tools.stopwatch import Stopwatch
from m3d_condense.training.trained import TrainedNetwork, load_network
from m3d_condense.training.trainer import check_converged, classes_of

POOL = "pool"


Teacher = tuple[nn.Module, Callable[[Tensor], Tensor]]
"""A trained network, and what takes images …×C×H×W in [0, 1] to what it is to see."""


@checked
@torch.inference_mode(False)
@torch.no_grad()
def label(
    subject: CondensedSet | str | Path,
    networks: TrainedNetwork | str | Path | Sequence[TrainedNetwork | str | Path] = (),
    data: Any = None,
    *,
    temperature: float = 1.0,
    overwrite: bool = False,
    execution: Execution | None = None,
) -> CondensedSet:
    """Give a condensed set soft labels: for each decoded image the mean of the networks' softmax at a temperature.

    The images are not augmented, and neither they nor the hard labels change.

    Args:
        subject: a condensed set, which stays as it is; or the folder of one, where the labels are stored too.
        networks: one or several trained ones, or the files that `train` kept them in, each counting once; by default
            the trained ends of the pool of the set's own recipe, which are found in the cache, or trained again;
            in the precision of the set where none is asked for.
        data: the data set that the pool is trained on: anything `load` takes; by default the set's own source.
        temperature: T of softmax(logits / T), from 10⁻⁶ to 10⁶; above 1 the labels are softer.
        overwrite: replace soft labels of other networks or another temperature; scores with them are dropped.
        execution: device, precision, compilation.

    Returns:
        A set of the same images, with soft labels.

    Raises:
        UserError: a set without a pool and no networks given; networks of other images or classes; a set that has
            other soft labels.
    """
    temperature = of_kind("temperature", temperature, float)
    if not 1 / LARGEST <= temperature <= LARGEST:
        raise UserError(f"a number from {1 / LARGEST:g} to {LARGEST:.0f}", setting="temperature", value=temperature)
    condensed = replace(subject) if isinstance(subject, CondensedSet) else CondensedSet.load(subject)
    folder = None if isinstance(subject, CondensedSet) else Path(subject)
    given = several(networks)
    wrong = next((one for one in given if not isinstance(one, TrainedNetwork | str | Path)), None)
    if wrong is not None:
        said = f"a {type(wrong).__name__}; give what train() or load_network() returned, or their files"
        raise UserError(said, setting="networks")
    files = _distinct(condensed, given)
    pool = None if files else _OwnPool(pool_recipe(condensed), source_of(condensed, data))
    told = [_of_file(one) for one in files] if pool is None else pool.told()
    origin = {"temperature": temperature, "networks": told}
    if condensed.soft_labels is not None and condensed.soft_labels.origin == origin:
        notice(f"{folder or 'the set'}: has these soft labels already")
        return condensed
    if condensed.soft_labels is not None and not overwrite:
        raise UserError(f"{folder or 'the set'}: has other soft labels; {Setting('overwrite', True)} replaces them")
    if folder is not None:
        current().by_first(partial(check_writable, folder / CONDENSED))
    engine = Engine(execution if pool is None else _as_condensed(condensed, execution or Execution()))
    own = [(trained.network, trained.normalise) for trained in files]
    teachers = own if pool is None else pool.teachers(engine, condensed.normalise)
    soft = SoftLabels.of(ensemble(teachers, condensed.decode()[0], temperature, engine.device), origin)
    condensed.add_soft_labels(soft)
    if folder is not None:
        current().by_first(partial(store_soft_labels, condensed, folder))
    return condensed


def _as_condensed(condensed: CondensedSet, asked: Execution) -> Execution:
    """Return how to run: where no precision is asked for, in that of the set, in which its pool is in the cache.

    But not in bfloat16 on hardware that lacks it.
    """
    own, auto = str(condensed.settings.get("precision")), asked.resolve_dtype(asked.resolve_device())
    here = own == "float32" or (own == "bfloat16" and auto is torch.bfloat16)
    return replace(asked, precision=own) if here and asked.precision == "auto" else asked


def pool_recipe(condensed: CondensedSet) -> Recipe:
    """Return the recipe of a set that was condensed with a pool of networks.

    Raises:
        UserError: it was made otherwise, or in groups, whose networks tell the classes of a group alone.
    """
    recipe, advice = recipe_of(condensed), "name files of networks that m3d train wrote"
    if recipe is None or not recipe.has_pool:
        raise UserError(f"no pool of networks is known of this set; {advice}")
    if is_grouped(condensed):
        raise UserError(f"each network of this set's pool knows one group of its classes alone; {advice}")
    return recipe


def check_labelling(recipe: Recipe, class_groups: int = 1) -> None:
    """Raise `UserError` for a run whose set can have no soft labels from the pool of networks that it is made with."""
    elsewhere = "m3d label takes files of networks"
    if not recipe.has_pool:
        said = f"goes with a method that has a pool of networks, such as m3d-pool; {elsewhere}"
    elif class_groups > 1:
        said = f"each network of the pool would know one group of the classes alone; {elsewhere}"
    elif imports_code(str(recipe.network)):
        said = f"the pool's networks would be code, {recipe.network}, which no set imports; {elsewhere}"
    else:
        return
    raise UserError(said, setting="soft_labels")


def ensemble(teachers: Iterable[Teacher], images: Tensor, temperature: float, device: torch.device) -> Tensor:
    """Return the mean over the networks of softmax(logits / T): N×K, float32 on the CPU.

    Args:
        teachers: at least one.
        images: N×C×H×W in [0, 1].
        temperature: T, above 0.
        device: where the networks run.
    """
    said = []
    for trained, normalise in teachers:
        network = copy.deepcopy(trained).to(device).eval()  # the caller's own stays where and as it is
        parts = torch.split(images, at_once(images, device))
        logits = torch.cat([network(normalise(part.to(device))) for part in parts])
        check_converged(classes_of(logits))
        said.append(torch.softmax(logits.cpu().double() / temperature, dim=1))
    return torch.stack(said).mean(0).float()


def _distinct(condensed: CondensedSet, given: Sequence[TrainedNetwork | str | Path]) -> list[TrainedNetwork]:
    """Return the networks that are given, read and checked; one that is given again counts once, which is said."""
    found: dict[tuple[object, ...], TrainedNetwork] = {}
    for one in given:
        trained = one if isinstance(one, TrainedNetwork) else load_network(one)
        name = "a network" if isinstance(one, TrainedNetwork) else str(one)
        _check(condensed, trained, name)
        key = _of_file(trained)["weights"], trained.architecture, trained.mean, trained.std
        if key in found:
            notice(f"{name}: is given twice, and counts once")
        found.setdefault(key, trained)
    return list(found.values())


def _check(condensed: CondensedSet, trained: TrainedNetwork, name: str) -> None:
    """Raise `UserError` unless a network takes the set's images and tells its classes apart."""
    shape, expected = (trained.channels, *trained.size), tuple(condensed.images.shape[1:])
    if shape != expected:
        raise UserError(f"{name}: takes images of {shape}, and the set holds {expected}; name a network for these")
    if trained.class_names != condensed.class_names:
        raise UserError(f"{name}: its classes, or their order, are not the set's; name a network for these")
    seen, source = trained.trained_on.get("fingerprint"), condensed.source.get("fingerprint")
    if seen != source and None not in (seen, source):
        notice(
            f"{name}: was trained on {trained.trained_on.get('name')}, which are not the training images that the set "
            "was condensed from: it may have seen fewer, or test images"
        )


def _of_file(trained: TrainedNetwork) -> dict[str, Any]:
    weights = {name: value.cpu().contiguous() for name, value in trained.network.state_dict().items()}
    return {
        "network": trained.architecture,
        "accuracy": trained.accuracy,
        "trained_on": trained.trained_on,
        "weights": f"sha256:{digest_of(weights, {}, math.inf)}",
    }


@dataclass(frozen=True)
class _OwnPool:
    """The pool of a set's own recipe, trained on `dataset`."""

    recipe: Recipe
    dataset: ImageDataset

    def told(self) -> list[dict[str, Any]]:
        """Describe each network: all follows from the recipe and the data."""
        recipe = self.recipe
        common = {"network": recipe.network, "trained_on": {"fingerprint": self.dataset.fingerprint}}
        trained = {"steps": recipe.encoder_steps, "batch": recipe.encoder_batch, "seed": recipe.seed}
        return [common | trained | {POOL: number} for number in range(recipe.encoder_count)]

    @torch.enable_grad()
    def teachers(self, engine: Engine, normalise: Callable[[Tensor], Tensor]) -> list[Teacher]:
        """Return the trained ends, from the cache or trained now."""
        recipe, dataset = self.recipe, self.dataset
        placed = plan(dataset, recipe, engine, objectives.build(recipe)).placed
        notice(placed.explain())
        pool = PoolEncoders(Material(recipe=recipe, encoder=Encoder(placed), dataset=dataset, watch=Stopwatch()))
        found = []
        for end in pool.ends():
            network = networks.build(recipe.network, **dataset.shape)
            network.load_state_dict(end)
            found.append((network, normalise))
        return found
