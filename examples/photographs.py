"""From a folder of photographs to a model: condense it, train a network on the few images, name test images with it.

    python examples/photographs.py [FOLDER] [--size 64] [--ipc 5]

FOLDER has a sub-folder of images for each class. Without one, the embedded digits are written as such a folder first.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib
from PIL import Image
from torch import Tensor

from m3d_condense import CondensedSet, ImageDataset, TrainedNetwork, condense, evaluate, load, random_selections, train

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402 - after the choice of what draws
from matplotlib.axes import Axes  # noqa: E402

SHOWN = 20  # test images


def digits_as_pictures(folder: Path) -> Path:
    """Write the embedded digits as a folder of PNG files, one sub-folder a class."""
    split = load("digits").train
    for number, (image, label) in enumerate(zip(split.images, split.labels.tolist(), strict=True)):
        place = folder / str(label) / f"{number:04}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[0].numpy()).save(place)
    return folder


def draw(
    condensed: CondensedSet, data: ImageDataset, model: TrainedNetwork, accuracies: dict[str, float], file: Path
) -> None:
    """Draw an image of each class, what the model calls some test images, and the accuracies."""
    figure = pyplot.figure(figsize=(9, 5.5), layout="constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=[1, 2.4])
    top.suptitle(f"One of {condensed.ipc} condensed images of each class", fontsize=10)
    firsts = [condensed.images[condensed.labels == k][0] for k in range(min(10, condensed.num_classes))]
    for axes, image in zip(top.subplots(1, len(firsts)), firsts, strict=True):
        show(axes, image)
    left, right = bottom.subfigures(1, 2, width_ratios=[3, 1])
    left.suptitle("Test images, and what the model calls them (red: wrong)", fontsize=10)
    chosen = slice(None, None, max(len(data.test) // SHOWN, 1))
    images, labels = data.test.images[chosen][:SHOWN], data.test.labels[chosen][:SHOWN]
    places = left.subplots(4, 5).ravel()  # more than there are images where few are tested
    for axes in places[len(images) :]:
        axes.set_axis_off()
    shown = zip(places[: len(images)], images, labels, model.predict(images), strict=True)
    for axes, image, label, guess in shown:
        show(axes, image)
        axes.set_title(model.class_names[guess][:14], fontsize=7, color="black" if guess == label else "red", pad=2)
    axes = right.subplots()
    bars = axes.bar(list(accuracies), list(accuracies.values()), color=["#999999", "#1f6fb4"])
    axes.bar_label(bars, fmt="%.1f", fontsize=8)
    axes.set(ylabel="test accuracy, %", ylim=(0, 105))
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, dpi=100)


def show(axes: Axes, image: Tensor) -> None:
    """Show an image C×H×W, uint8."""
    axes.imshow(image.permute(1, 2, 0).squeeze(), cmap="gray", vmin=0, vmax=255)
    axes.set_axis_off()


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Run the example and return the accuracies in percent."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--size", type=int, help="pixels a side (default: as the pictures are)")
    parser.add_argument("--ipc", type=int, default=5, help="images a class")
    parser.add_argument("--iterations", type=int, default=150)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--out", type=Path, default=Path("runs/examples"))
    given = parser.parse_args(arguments)
    data = load(given.folder or digits_as_pictures(given.out / "digits"), size=given.size)
    flip = None if given.folder else False  # a mirrored digit is another one
    recipe = {"ipc": given.ipc, "iterations": given.iterations, "flip": flip}
    condensed = condense(data, out=given.out / f"{data.name}-condensed", overwrite=True, **recipe)
    model = train(condensed, data, epochs=given.epochs, out=given.out / f"{data.name}.safetensors", overwrite=True)
    random = evaluate(random_selections(data, given.ipc, 1), data, repeats=1, epochs=given.epochs, flip=flip)
    accuracies = {"random": random.mean, "condensed": model.accuracy}
    draw(condensed, data, model, accuracies, given.out / f"photographs-{data.name}.png")
    print(f"{data.name}, {given.ipc} images a class: " + ", ".join(f"{k} {v:.1f} %" for k, v in accuracies.items()))
    return accuracies


if __name__ == "__main__":
    main()
