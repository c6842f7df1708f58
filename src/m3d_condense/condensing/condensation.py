"""The one loop that condenses, whatever the method."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from m3d_condense import networks
from m3d_condense.condensing import checkpoint, coresets, encoders, objectives
from m3d_condense.condensing.pixels import Pixels
from m3d_condense.condensing.view import Encoder, View, seen_numbers
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.data.load import load
from m3d_condense.data.sampler import ClassSampler
from m3d_condense.machine.costs import activation_bytes
from m3d_condense.machine.engine import Engine, Execution
from m3d_condense.machine.environment import describe_environment
from m3d_condense.recipes import methods
from m3d_condense.recipes.recipe import Recipe, operations, rate
from m3d_condense.sets.condensed import CondensedSet, is_condensed_set
from m3d_condense.sets.tiles import mosaic
from m3d_condense.tools.errors import Setting, UserError
from m3d_condense.tools.interrupt import deferred
from m3d_condense.tools.progress import Reporter, notice, progress
from m3d_condense.tools.seeds import derive, generator
from m3d_condense.training import augment

LOG_EVERY = 10  # steps between two entries of the history, each of which waits for the device
SAVE_EVERY = 60.0  # seconds between two checkpoints


@torch.inference_mode(False)
@torch.enable_grad()
def condense(
    data: Any,
    *,
    ipc: int = 10,
    method: str = "m3d",
    preset: str = "quick",
    out: str | Path | None = None,
    overwrite: bool = False,
    time_limit: float | None = None,
    execution: Execution | None = None,
    **settings: Any,
) -> CondensedSet:
    """Condense a labelled image data set into `ipc` images per class.

    With `out`, the run is saved as it goes, an interrupted one goes on where it stopped, and one that is
    already complete is returned as it is. One that a time limit stopped is stored, and goes on likewise.

    Args:
        data: anything `load` takes, or what it returned.
        ipc: stored images per class.
        method: a row of `m3d_condense.recipes.methods.METHODS`.
        preset: "quick" (minutes on two cores) or "paper".
        out: folder for the condensed set.
        overwrite: discard a finished or begun run of `out`.
        time_limit: seconds of this call after which the loop stops and what there is is stored.
        execution: device, precision, compilation, memory.
        **settings: any field of `Recipe`, in place of the preset's.

    Raises:
        UserError: for settings or data that cannot be used, or an `out` that holds another run.
    """
    dataset = load(data)
    recipe = recipe_for(dataset, method, preset, ipc, settings)
    if recipe.factor > min(dataset.size):
        height, width = dataset.size
        raise UserError(f"larger than the images of {height}×{width}", setting="factor", value=recipe.factor)
    source = dataset.source | {"name": dataset.name, "fingerprint": dataset.fingerprint}
    identity = {"recipe": dataclasses.asdict(recipe), "fingerprint": dataset.fingerprint}
    target = Path(out) if out is not None else None
    saved = target.with_name(target.name + ".checkpoint") if target is not None else None
    if target is not None and saved is not None:
        CondensedSet.check_target(target)
        finished = _finished(target, saved, identity, overwrite)
        if finished is not None:
            return finished
    run = Run(dataset, recipe, Engine(execution))
    run.loop(identity, saved, time_limit)
    condensed = _collect(run, source, time_limit)
    if target is not None:
        condensed.save(target)
    if saved is not None and run.step == recipe.iterations:
        saved.unlink(missing_ok=True)
    return condensed


def recipe_for(dataset: ImageDataset, method: str, preset: str, ipc: int, overrides: Mapping[str, Any]) -> Recipe:
    """Resolve a method's settings for a data set, see `m3d_condense.recipes.methods.recipe`."""
    side = min(dataset.size)
    return methods.recipe(method, preset, ipc=ipc, side=side, mirrored=dataset.mirrored, overrides=overrides)


def random_selections(dataset: ImageDataset, ipc: int, count: int, seed: int = 0) -> list[CondensedSet]:
    """Draw `count` independent random selections of `ipc` real images per class, for `evaluate`."""
    seeds = [derive(seed, "selection", number) for number in range(count)]
    return [condense(dataset, ipc=ipc, method="random", seed=one) for one in seeds]


class Run:
    """The parts of one run, composed as its recipe says, and the loop over them."""

    def __init__(self, dataset: ImageDataset, recipe: Recipe, engine: Engine) -> None:
        self.dataset, self.recipe, self.engine = dataset, recipe, engine
        self.seed = recipe.seed
        self.sampler = ClassSampler(dataset.train.labels, dataset.num_classes)
        begun = time.monotonic()
        images, spared = initial_images(dataset, recipe, self.sampler, engine)
        self.pixels = Pixels(images.to(engine.device), recipe.factor)
        self.optimizer = _optimizer(self.pixels, recipe)
        self.history: list[dict[str, float]] = []
        self.seconds = time.monotonic() - begun + spared
        self.step = 0

    def prepare(self) -> None:
        """Build what only a run with steps needs: the encoder, the objective and the data on the device."""
        recipe, engine, dataset, begun = self.recipe, self.engine, self.dataset, time.monotonic()
        augmentation = operations(recipe.augmentation)
        kept = [name for name in augmentation if recipe.flip or name != "flip"]
        self.strategy = "_".join(kept)
        channels, num_classes, size = dataset.channels, dataset.num_classes, dataset.size
        network = networks.build(recipe.network, channels=channels, num_classes=num_classes, size=size)
        per_class = min(self.pixels.decoded_per_class, recipe.batch_synthetic)
        example = torch.zeros(1, channels, *size)
        self.objective = objectives.build(recipe.objective, kernel=recipe.kernel, cross_entropy=recipe.cross_entropy)
        real_passes, synthetic_passes = self.objective.passes
        per_step = num_classes * (per_class * synthetic_passes + recipe.batch_real * real_passes)
        images = recipe.iterations * per_step + encoders.training_images(recipe)
        self.compiled = engine.pays(network, example, images)
        notice(f"{engine.describe()}; {engine.reason}")
        self.chunks = [range(num_classes)]
        if not self.objective.joint:
            # Real images are held as floats a few times over while they are augmented, and then as seen.
            real = 4 * (4 * example.numel() + seen_numbers(network, example, self.objective.layered))
            synthetic = real + activation_bytes(network, example, engine.dtype)
            self.chunks = list(engine.chunks(num_classes, recipe.batch_real * real + per_class * synthetic))
        self.real = engine.resident(dataset.train.images)
        self.encoders = encoders.build(
            recipe, Encoder(network, engine, self.compiled), dataset, self.real, self.strategy
        )
        self.normalised = augment.Normalisation(dataset.mean, dataset.std, engine.device)
        self.seconds += time.monotonic() - begun + self.encoders.spared

    def loop(self, identity: dict[str, Any], saved: Path | None, time_limit: float | None) -> None:
        """Run the steps that are left, saving as they go; an interrupt loses no whole step.

        Raises:
            KeyboardInterrupt: after an interrupt or a termination, once the state is saved.
        """
        total = self.recipe.iterations
        found = checkpoint.restore(saved, identity, self.pixels, self.optimizer) if saved is not None else None
        if total == 0:
            return
        self.prepare()
        if found is not None:
            state, learnt = found
            self.step, self.seconds, self.history = state["step"], state["seconds"], state["history"]
            self.encoders.restore(self.step, learnt)
            notice(f"going on from step {self.step} of {total}, saved in {saved}")

        def keep() -> None:
            self.check(self.pixels.values)
            if saved is not None:
                state = {"step": self.step, "seconds": self.seconds, "history": self.history}
                checkpoint.save(saved, identity, self.pixels, self.optimizer, self.encoders.state(), state)

        with deferred() as interrupted, progress("Condensing", total, done=self.step) as bar:
            before, start = self.seconds, time.monotonic()
            kept = start
            while self.step < total:
                losses = self.take_step()
                now = time.monotonic()
                self.seconds = before + now - start
                self._log(losses, bar)
                if interrupted():
                    keep()
                    raise KeyboardInterrupt
                if time_limit is not None and now - start >= time_limit:
                    notice(f"time limit reached after {self.step} of {total} steps; the same command goes on")
                    break
                if now - kept >= SAVE_EVERY:
                    keep()
                    kept = now
            keep()

    def take_step(self) -> list[Tensor]:
        """Move every pixel once; return the classes' losses, chunk by chunk."""
        encoder = self.encoders.at(self.step)
        self.optimizer.zero_grad(set_to_none=True)
        losses = []
        for classes in self.chunks:
            real, synthetic = self.draw(classes)
            views = View(encoder, real, classes, graph=False), View(encoder, synthetic, classes, graph=True)
            loss = self.objective(*views, whole=self.step % LOG_EVERY == 0)
            torch.autograd.backward(loss.sum())
            losses.append(loss.detach())
        self.optimizer.param_groups[0]["lr"] = rate(self.recipe, self.step)
        self.optimizer.step()
        self.pixels.clamp()
        self.encoders.advance(self.step, self.pixels)
        self.step += 1
        return losses

    def draw(self, classes: range) -> tuple[Tensor, Tensor]:
        """Draw real and synthetic images of these classes, normalised, augmented alike within a class."""
        recipe, device = self.recipe, self.engine.device
        streams = [generator(self.seed, "step", self.step, k) for k in classes]
        chosen = torch.cat(
            [self.sampler.draw([k], recipe.batch_real, g) for k, g in zip(classes, streams, strict=True)]
        )
        flat = chosen.flatten().to(self.real.device, non_blocking=True)
        real = self.real.index_select(0, flat).to(device).view(*chosen.shape, *self.real.shape[1:])
        synthetic = self.pixels.draw(classes, recipe.batch_synthetic, streams)
        everything = generator(self.seed, "augment", self.step)
        whole = augment.draw(
            self.strategy, self.dataset.num_classes, self.dataset.size, everything, recipe.augmentation_draw
        )
        parameters = whole.of(classes, device)
        return augment.apply(self.normalised(real), parameters), augment.apply(self.normalised(synthetic), parameters)

    def check(self, values: Tensor) -> None:
        """Raise `UserError` unless the losses or pixels are all finite."""
        if not bool(torch.isfinite(values).all()):
            advice = f"try a lower {Setting('lr')} or {Setting('precision', 'float32')}"
            raise UserError(f"the loss is not a number at step {self.step}; {advice}")

    def _log(self, losses: list[Tensor], bar: Reporter) -> None:
        if (self.step - 1) % LOG_EVERY == 0:
            loss = torch.cat(losses).mean()
            self.check(loss)
            self.history.append({"step": self.step, "loss": float(loss), "seconds": round(self.seconds, 3)})
            bar.note = f"loss {float(loss):.4f}"
        bar.advance()


def initial_images(
    dataset: ImageDataset, recipe: Recipe, sampler: ClassSampler, engine: Engine
) -> tuple[Tensor, float]:
    """Return the images a run starts from, and the seconds that choosing them would take without `cache`.

    The images are K×M×C×H×W in [0, 1]: mosaics of l×l real images, or noise.
    """
    spared, stream = 0.0, generator(recipe.seed, "initialise")
    num_classes, count = dataset.num_classes, recipe.ipc * recipe.factor**2
    if recipe.initialisation == "noise":
        return torch.rand(num_classes, recipe.ipc, dataset.channels, *dataset.size, generator=stream), spared
    coresets.notice_repeats(dataset, count)
    if recipe.initialisation in coresets.SELECTIONS:
        chosen, spared = coresets.select(dataset, recipe, count, engine)
    else:
        chosen = sampler.draw(range(num_classes), count, stream)
    per_class = [mosaic(dataset.train.images[index].float() / 255, recipe.factor) for index in chosen]
    return torch.stack(per_class), spared


def _optimizer(pixels: Pixels, recipe: Recipe) -> torch.optim.Optimizer:
    # One optimiser over all classes at once: momentum acts on each class's own pixels.
    if recipe.optimizer == "sgd":
        return torch.optim.SGD([pixels.values], lr=recipe.lr, momentum=recipe.momentum)
    return torch.optim.Adam([pixels.values], lr=recipe.lr, betas=(recipe.momentum, 0.999))


def _finished(target: Path, saved: Path, identity: dict[str, Any], overwrite: bool) -> CondensedSet | None:
    """Return the set at the target if it is of this very run, and that was completed; refuse any other."""
    if overwrite:
        saved.unlink(missing_ok=True)
        return None
    if not is_condensed_set(target):
        return None
    found = CondensedSet.load(target)
    recipe = {name: found.settings.get(name) for name in identity["recipe"]}
    if recipe != identity["recipe"] or found.source.get("fingerprint") != identity["fingerprint"]:
        raise UserError(
            f"{target}: holds a condensed set of other settings or data; "
            f"give another {Setting('out')}, or {Setting('overwrite', True)}"
        )
    if saved.exists():
        return None
    notice(f"{target}: already condensed with these settings; {Setting('overwrite', True)} runs it again")
    return found


def _collect(run: Run, source: dict[str, Any], time_limit: float | None) -> CondensedSet:
    images, labels = run.pixels.to_uint8()
    versions, hardware = describe_environment()
    settings = dataclasses.asdict(run.recipe) | dataclasses.asdict(run.engine.execution)
    return CondensedSet(
        images=images,
        labels=labels,
        class_names=run.dataset.class_names,
        factor=run.recipe.factor,
        mean=run.dataset.mean,
        std=run.dataset.std,
        method=run.recipe.method,
        settings=settings | {"time_limit": time_limit},
        source=source,
        seed=run.recipe.seed,
        versions=versions,
        hardware=hardware | {"used": run.engine.describe()},
        seconds=round(run.seconds, 3),
        steps=run.step,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        history=run.history,
        scores=[],
    )
