"""A replay buffer for class-incremental learning: condensed images against random ones of the same bytes.

    python examples/replay.py [DATA ...]

A network meets the classes of DATA two at a time and never sees earlier ones again, but for a memory of a few images a
class. After each pair it is tested on all classes so far. Only the memory differs.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib
import torch
from torch import Tensor, nn

from m3d_condense import CondensedSet, ImageDataset, condense, load
from m3d_condense.networks import build, initialise
from m3d_condense.tools.progress import set_quiet

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402 - after the choice of what draws

MEMORIES = {"none": None, "random": "random", "condensed": "m3d"}  # and the method that fills it
BATCH = 64


def pair_of(data: ImageDataset, classes: range, per_class: int) -> ImageDataset:
    """Return the images of these classes alone, at most so many of each to train on, numbered from 0."""
    splits = []
    for split, most in ((data.train, per_class), (data.test, len(data.test))):
        index = torch.cat([torch.nonzero(split.labels == k).flatten()[:most] for k in classes])
        splits.append((split.images[index].permute(0, 2, 3, 1).numpy(), split.labels[index].numpy()))
    return load(tuple(splits), layout="NHWC")


def learn(
    network: nn.Module, data: ImageDataset, new: ImageDataset, first: int, memory: list[CondensedSet], steps: int
) -> None:
    """Train the network on a pair of classes from `first` on, half of each batch out of the memory, if there is any."""
    optimizer = torch.optim.SGD(network.parameters(), lr=0.02, momentum=0.9, weight_decay=5e-4)
    stream = torch.Generator().manual_seed(first)
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (data.mean, data.std))
    old = None
    if memory:
        decoded = [one.decode() for one in memory]
        labels = [y + 2 * number for number, (_, y) in enumerate(decoded)]  # each pair numbers its classes from 0
        old = torch.cat([x for x, _ in decoded]), torch.cat(labels)
    network.train()
    for _ in range(steps):
        pick = torch.randint(len(new.train), (BATCH // 2 if old else BATCH,), generator=stream)
        x, y = new.train.images[pick].float() / 255, new.train.labels[pick] + first
        if old:
            pick = torch.randint(len(old[0]), (BATCH // 2,), generator=stream)
            x, y = torch.cat((x, old[0][pick])), torch.cat((y, old[1][pick]))
        optimizer.zero_grad()
        nn.functional.cross_entropy(network((x - mean) / std), y).backward()
        optimizer.step()


@torch.no_grad()
def accuracy(network: nn.Module, data: ImageDataset, seen: int, most: int = 2000) -> float:
    """Return the accuracy in percent on test images of the first classes."""
    network.eval()
    index = torch.nonzero(data.test.labels < seen).flatten()
    index = index[torch.randperm(len(index), generator=torch.Generator().manual_seed(0))[:most]]
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (data.mean, data.std))
    x: Tensor = (data.test.images[index].float() / 255 - mean) / std
    guesses = torch.cat([network(part).argmax(1) for part in x.split(500)])
    return 100 * float((guesses == data.test.labels[index]).float().mean())


def run(data: ImageDataset, given: argparse.Namespace) -> dict[str, list[float]]:
    """Return, for each memory, the accuracies after each pair of classes, means over the seeds."""
    pairs = [range(k, k + 2) for k in range(0, data.num_classes, 2)]
    news = [pair_of(data, classes, given.per_class) for classes in pairs]
    curves: dict[str, list[float]] = {name: [0.0] * len(pairs) for name in MEMORIES}
    for seed in range(given.seeds):
        for name, method in MEMORIES.items():
            network = build("convnet-width32", channels=data.channels, num_classes=data.num_classes, size=data.size)
            initialise(network, seed)
            memory: list[CondensedSet] = []
            for number, (classes, new) in enumerate(zip(pairs, news, strict=True)):
                learn(network, data, new, classes.start, memory, given.steps)
                curves[name][number] += accuracy(network, data, classes.stop) / given.seeds
                if method is not None and classes is not pairs[-1]:
                    own = {"iterations": given.iterations, "flip": data.mirrored} if method != "random" else {}
                    memory.append(condense(new, ipc=given.ipc, method=method, seed=seed, **own))
    return curves


def main(arguments: list[str] | None = None) -> dict[str, dict[str, list[float]]]:
    """Run the example and return the curves of each data set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="*", default=["digits"])
    parser.add_argument("--ipc", type=int, default=2, help="images of the memory a class")
    parser.add_argument("--per-class", type=int, default=500, help="real images a class that are met")
    parser.add_argument("--steps", type=int, default=60, help="of the network, for each pair of classes")
    parser.add_argument("--iterations", type=int, default=100, help="of condensing a pair of classes")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("runs/examples"))
    given = parser.parse_args(arguments)
    set_quiet(True)  # many small sets are condensed
    results = {}
    figure, panels = pyplot.subplots(1, len(given.data), figsize=(4.5 * len(given.data), 3.6), squeeze=False)
    for name, axes in zip(given.data, panels[0], strict=True):
        data = load(name)
        results[data.name] = curves = run(data, given)
        for (memory, curve), color in zip(curves.items(), ("#bbbbbb", "#d95f02", "#1f6fb4"), strict=True):
            seen = range(2, 2 * len(curve) + 1, 2)
            axes.plot(seen, curve, marker="o", color=color, label=memory)
            axes.annotate(f"{curve[-1]:.0f}", (seen[-1], curve[-1]), xytext=(6, -3), textcoords="offset points")
            print(f"{data.name}, memory {memory}: " + ", ".join(f"{value:.1f}" for value in curve))
        axes.set(title=f"{data.name}, {given.ipc} images a class kept", xlabel="classes met so far", ylim=(0, 103))
        axes.spines[["top", "right"]].set_visible(False)
    panels[0][0].set_ylabel("test accuracy on them, %")
    panels[0][0].legend(title="memory", frameon=False, loc="lower left")
    given.out.mkdir(parents=True, exist_ok=True)
    figure.savefig(given.out / "replay.png", dpi=100, bbox_inches="tight")
    return results


if __name__ == "__main__":
    main()
