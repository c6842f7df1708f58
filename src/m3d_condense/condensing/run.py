"""The one loop that condenses, whatever the method."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from m3d_condense.condensing import checkpoint, encoders, objectives
from m3d_condense.condensing.draws import Draws
from m3d_condense.condensing.encoders.source import EncoderSource, Material
from m3d_condense.condensing.growth import Earlier
from m3d_condense.condensing.objectives.objective import Objective
from m3d_condense.condensing.pixels import Pixels
from m3d_condense.condensing.plan import Plan, plan
from m3d_condense.condensing.real import RealImages
from m3d_condense.condensing.start import start
from m3d_condense.condensing.view import Encoder, View
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.machine.engine import Engine
from m3d_condense.recipes.names import EASY
from m3d_condense.recipes.recipe import Recipe
from m3d_condense.tools.errors import Setting, UserError
from m3d_condense.tools.interrupt import deferred
from m3d_condense.tools.progress import Reporter, notice, progress
from m3d_condense.tools.stopwatch import Stopwatch

LOG_EVERY = 10  # steps between two entries of the history, each of which waits for the device
SAVE_EVERY = 60.0  # seconds between two checkpoints
ECHO = 5.0  # seconds within which a launcher passes on an interrupt that has come from the terminal already
NO_NUMBER = "the loss is not a number"
SATURATED = 0.5  # share of the pixels beyond which something is wrong with the step size

Observer = Callable[["Run"], None]
"""Is called with a run that begins or goes on, and after every step; it changes nothing but the history."""


@dataclass(kw_only=True, eq=False)
class Run:
    """The parts of one run, and the loop over them; `begin` makes it.

    Attributes:
        recipe: its settings.
        pixels, optimizer: what is learnt, of the classes that are this process's, and how it moves.
        plan: how the network runs, and the classes of each chunk.
        encoders, objective, draws: what a step is made of.
        watch: the seconds it has taken.
        extreme: which pixels began at 0 or 1.
        step: how many steps have been taken.
        history: {"step": …, "loss": …, "seconds": …}, of every tenth step; observers may add to it.
        seen: the real images that steps share, by the first of these steps and the classes.
    """

    recipe: Recipe
    pixels: Pixels
    optimizer: torch.optim.Optimizer
    plan: Plan
    encoders: EncoderSource
    objective: Objective
    draws: Draws
    watch: Stopwatch
    extreme: Tensor
    step: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    seen: dict[tuple[int, range], View] = field(default_factory=dict)

    def take_step(self) -> Tensor:
        """Move the pixels of this process's classes; return their losses (K'), 0 of those that are not compared."""
        encoder = self.encoders.at(self.step)
        self.optimizer.param_groups[0]["lr"] = self.recipe.rate(self.step)
        mine = self.pixels.shard.classes
        losses = torch.zeros(len(mine), device=self.pixels.values.device)
        for classes in self.plan.chunks:
            if classes.start in mine:
                first = mine.index(classes.start)
                losses[first : first + len(classes)] = self._compare(encoder, classes)
            if self.recipe.class_steps == "sequential":
                self._move()
        if self.recipe.class_steps == "joint":
            self._move()
        self.encoders.advance(self.step, self.pixels)
        self.step += 1
        return losses

    def _compare(self, encoder: Encoder, classes: range) -> Tensor:
        """Add the gradient of these classes' losses to the pixels'; return the losses."""
        first, shard = self.draws.first(self.step), self.pixels.shard
        seen = self.seen.get((first, classes))
        real, synthetic = self.draws.at(self.step, classes, real=seen is None)
        if seen is None:
            assert real is not None
            seen = View(encoder, real, classes, graph=False, shard=shard)
        learnt = View(encoder, synthetic, classes, graph=True, shard=shard)
        loss = self.objective(seen, learnt, constants=self.step % LOG_EVERY == 0)
        if self.recipe.share_real:  # those of the last encoder go
            self.seen = {key: view for key, view in self.seen.items() if key[0] == first} | {(first, classes): seen}
            seen.let_go()
        if not loss.requires_grad:
            said = "no gradient reaches the images through it; take torch.no_grad and detach out of it"
            raise UserError(said, setting="network", value=self.recipe.network)
        torch.autograd.backward(loss.sum())
        return loss.detach()

    def _move(self) -> None:
        """Move the pixels down the gradient that they have, which is zero where none of them was compared."""
        if self.pixels.values.grad is None:
            self.pixels.values.grad = torch.zeros_like(self.pixels.values)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.pixels.clamp()

    def loop(
        self,
        identity: dict[str, Any],
        saved: Path | None,
        time_limit: float | None,
        observe: Observer = lambda run: None,
        *,
        anew: bool = False,
    ) -> None:
        """Take the steps that are left, saving as they go; an interrupt loses no finished step.

        Processes that work together need no word from each other within a step, but for what any of them wishes: to
        stop, or to save. Each asks before a step, and hears the others after it.

        Args:
            identity: the run's settings and data; JSON-able. A checkpoint's must agree, and its arithmetic.
            saved: the checkpoint's file; None saves nothing.
            time_limit: seconds of this call after which the loop ends. What the cache held counts as long as it would
                have taken, but not again where a run goes on.
            observe: looks on.
            anew: whether a checkpoint that this run cannot go on from gives way, where it is an error otherwise.

        Raises:
            KeyboardInterrupt: after an interrupt or a termination, once the state is saved.
        """
        total, group = self.recipe.iterations, self.pixels.shard.group
        identity = identity | {"arithmetic": self.plan.placed.numerics}
        credited, elapsed = self.watch.seconds, self.watch.elapsed
        if saved is not None and not (anew and group.by_first(lambda: not _readable(saved, identity))):
            self._restore(identity, saved)
        echo = ECHO if group.size > 1 else 0.0
        allowed = math.inf if time_limit is None else time_limit - (elapsed if self.step else credited)
        clock = _Clock(self.watch, allowed)
        shown = progress("Condensing", total, done=self.step, ends_in=clock.left)
        with deferred(echo) as interrupted, shown as bar:
            observe(self)
            while self.step < total:
                heard = group.ask(interrupted, clock.over, clock.due)
                self._log(self.take_step(), bar)
                observe(self)
                stop, late, save = heard()
                if stop:
                    self._save(identity, saved)
                    raise KeyboardInterrupt
                if late and self.step < total:
                    notice(f"time limit reached after {self.step} of {total} steps; the same command goes on")
                    break
                if save:
                    self._save(identity, saved)
                    clock.saved()
            self._save(identity, saved)
            if group.any(interrupted()):
                raise KeyboardInterrupt
        self._notice_saturation()

    def _restore(self, identity: dict[str, Any], saved: Path) -> None:
        found = checkpoint.restore(saved, identity, self.pixels, self.optimizer)
        if found is None:
            return
        state, learnt = found
        if state.step > self.recipe.iterations:
            raise checkpoint.unreadable(saved, f"step {state.step} of {self.recipe.iterations}")
        try:
            self.encoders.restore(state.step, learnt)
        except (KeyError, ValueError, IndexError, RuntimeError, OverflowError) as error:
            raise checkpoint.unreadable(saved, f"its encoders are not of this run: {error}") from None
        self.step, self.history = state.step, state.history
        self.watch.go_on_from(state.seconds)
        notice(f"going on from step {self.step} of {self.recipe.iterations}, saved in {saved}")

    def _save(self, identity: dict[str, Any], saved: Path | None) -> None:
        learnt = self.encoders.state()
        self._check(self.pixels.values, *learnt.values())
        if saved is not None:
            state = checkpoint.Progress(step=self.step, seconds=self.watch.seconds, history=self.history)
            checkpoint.save(saved, identity, self.pixels, self.optimizer, learnt, state)

    def _check(self, *values: Tensor) -> None:
        """Raise `UserError` in all processes unless the losses, pixels and encoders of each are all finite.

        The last checkpoint is kept.
        """
        if not self.pixels.shard.group.any(not all(bool(torch.isfinite(part).all()) for part in values)):
            return
        diverged = not self.encoders.finite()
        subject = "a network that encodes has diverged: its weights are no numbers" if diverged else NO_NUMBER
        lower = " or ".join(str(Setting(name)) for name in (self.encoders.rates if diverged else ("lr",)))
        advice = f"try a lower {lower}, or {Setting('precision', 'float32')}"
        raise UserError(f"{subject} at step {self.step}; {advice}")

    def _notice_saturation(self) -> None:
        """Say so where the steps have driven most pixels to 0 or 1 that did not begin there."""
        ended = self.pixels.extreme()[~self.extreme]
        counts = self.pixels.shard.group.sum(torch.tensor([int(ended.sum()), ended.numel()])).tolist()
        share = counts[0] / max(counts[1], 1)
        if share > SATURATED:
            advice = f"the steps may be too large: try a lower {Setting('lr')} than {self.recipe.lr:g}"
            notice(f"{share:.0%} of the pixels that began between 0 and 1 have ended at 0 or 1; {advice}")

    def _log(self, losses: Tensor, bar: Reporter) -> None:
        if (self.step - 1) % LOG_EVERY == 0:
            loss = self.pixels.shard.gather(losses)[list(self.plan.compared)].mean()
            self._check(loss)
            seconds = round(self.watch.seconds, 3)
            self.history.append({"step": self.step, "loss": float(loss), "seconds": seconds})
            bar.note = f"loss {float(loss):.4f}"
        bar.advance()


def _readable(saved: Path, identity: dict[str, Any]) -> bool:
    """Whether there is a checkpoint of a run with this identity, and it is whole."""
    try:
        return checkpoint.read(saved, identity) is not None
    except UserError:
        return False


class _Clock:
    """Tells when a loop that begins now has to end, and when to save.

    Args:
        watch: counts the seconds of the run; what is left out of them does not bring its end nearer.
        allowed: seconds, from now on.
    """

    def __init__(self, watch: Stopwatch, allowed: float) -> None:
        self.watch, self.end = watch, watch.elapsed + allowed
        self.saved()

    def left(self) -> float:
        return self.end - self.watch.elapsed

    def over(self) -> bool:
        return self.left() <= 0

    def due(self) -> bool:
        return time.monotonic() - self.kept >= SAVE_EVERY

    def saved(self) -> None:
        self.kept = time.monotonic()


def begin(
    dataset: ImageDataset,
    recipe: Recipe,
    engine: Engine,
    watch: Stopwatch | None = None,
    earlier: Earlier | None = None,
) -> Run:
    """Make a run that stands before its first step.

    Args:
        dataset: is condensed.
        recipe: all settings.
        engine: where and how it runs.
        watch: counts the seconds; by default from now on.
        earlier: images that it grows from.

    Raises:
        UserError: for a network or a pool that cannot be had.
    """
    watch = watch or Stopwatch()
    objective = objectives.build(recipe)
    planned = plan(dataset, recipe, engine, objective, earlier)
    notice(planned.placed.explain())
    material = Material(recipe=recipe, encoder=Encoder(planned.placed), dataset=dataset, watch=watch)
    source = encoders.build(material)
    judges = source.judges() if recipe.initialisation == EASY else []
    pixels = start(dataset, recipe, engine, watch, earlier, judges)
    return Run(
        recipe=recipe,
        pixels=pixels,
        optimizer=_optimizer(pixels, recipe),
        plan=planned,
        encoders=source,
        objective=objective,
        draws=Draws(dataset, recipe, pixels, RealImages.of(dataset, pixels.shard, engine, source.real)),
        watch=watch,
        extreme=pixels.extreme(),
    )


def _optimizer(pixels: Pixels, recipe: Recipe) -> torch.optim.Optimizer:
    # One optimiser over all classes: where they step one after the other, each step also moves the others' pixels by
    # their momentum, as it does in public code.
    if recipe.optimizer == "sgd":
        return torch.optim.SGD([pixels.values], lr=recipe.lr, momentum=recipe.momentum)
    return torch.optim.Adam([pixels.values], lr=recipe.lr, betas=(recipe.momentum, 0.999))
