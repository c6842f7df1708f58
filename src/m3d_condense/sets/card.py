"""What a condensed set says of itself: the data card, its README.md."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from m3d_condense.sets.condensed import CondensedSet

MAX_NAMES = 100  # class names spelled out in the card

CITATION = """\
@inproceedings{zhang2024m3d,
  title     = {{M3D}: Dataset Condensation by Minimizing Maximum Mean Discrepancy},
  author    = {Zhang, Hansong and Li, Shikun and Wang, Pengju and Zeng, Dan and Ge, Shiming},
  booktitle = {Proceedings of the AAAI Conference on Artificial Intelligence},
  volume    = {38},
  number    = {8},
  year      = {2024},
  doi       = {10.1609/aaai.v38i8.28784},
}"""

DECODING = """
# every stored image holds {l}×{l} tiles: cut them apart and enlarge each to the full size
l, (n, c, h, w) = {l}, images.shape
images = F.pad(images, (0, -w % l, 0, -h % l), value=0.5)
images = images.unfold(2, -(-h // l), -(-h // l)).unfold(3, -(-w // l), -(-w // l))
images = images.permute(0, 2, 3, 1, 4, 5).flatten(0, 2)
images = F.interpolate(images, size=(h, w), mode="bilinear")
labels = labels.repeat_interleave(l * l)
"""


def card(condensed: CondensedSet) -> str:
    """Markdown text with the hub's YAML header: facts, scores, how to load, settings, citation."""
    source = _escape(condensed.source.get("name", "an unnamed source"))
    return "\n\n".join(
        [
            f"---\n{_header(condensed)}\n---",
            f"# {source}, condensed by {_escape(condensed.method)}",
            f"{len(condensed.images):,} images that stand in for the training set of {source}: a network is"
            " trained from scratch on them instead of on everything; the scores below say how good it gets."
            " The terms of use of the source apply to this set too.",
            "![Stored images, one row a class](preview.png)",
            f"## Facts\n\n{_facts(condensed)}",
            f"## Scores\n\n{_scores(condensed)}",
            f"## Loading\n\n{_loading(condensed)}",
            f"## Settings\n\nMade on {_escape(condensed.created)} in {condensed.seconds:,.0f} s, seed"
            f" {condensed.seed}.\n\n{_settings(condensed)}",
            f"## Citation\n\nThe M3D method:\n\n```bibtex\n{CITATION}\n```\n",
        ]
    )


def _header(condensed: CondensedSet) -> str:
    from huggingface_hub import DatasetCardData

    return DatasetCardData(
        pretty_name=f"{condensed.source.get('name', 'unnamed')}, condensed by {condensed.method}",
        task_categories=["image-classification"],
        size_categories=[_size_category(len(condensed.images))],
        tags=["dataset-condensation", "dataset-distillation", "m3d-condense", condensed.method],
        viewer=False,  # the hub would take preview.png for the data
    ).to_yaml()


def _size_category(count: int) -> str:
    """Name the hub's bracket for `count` examples, such as 1K<n<10K."""
    names = ["1K", "10K", "100K", "1M", "10M"]
    above = [name for power, name in enumerate(names) if count >= 10 ** (power + 3)]
    if not above:
        return "n<1K"
    upper = [*names, "100M"][len(above)]
    return f"{above[-1]}<n<{upper}"


def _facts(condensed: CondensedSet) -> str:
    count, channels, height, width = condensed.images.shape
    names = ", ".join(map(_escape, islice(condensed.class_names, MAX_NAMES)))
    more = ", … (all of them in `condensed.json`)" if condensed.num_classes > MAX_NAMES else ""
    least, most = condensed.ipc, int(condensed.labels.bincount().max())
    factor = condensed.factor
    tiles = "every stored image is one training image"
    if factor > 1:
        tiles = (
            f"every stored image holds {factor}×{factor} tiles; decoding cuts them apart and enlarges each by"
            f" bilinear up-sampling, which makes {count * factor**2:,} training images"
        )
    facts = {
        "Method": _escape(condensed.method),
        "Steps": f"{condensed.steps:,} in {condensed.seconds:,.0f} seconds",
        "Source": _escape(condensed.source.get("name", "unnamed")),
        "Fingerprint of the source": _escape(condensed.source.get("fingerprint", "unknown")),
        "Classes": f"{condensed.num_classes}: {names}{more}",
        "Images per class": str(least) if least == most else f"{least} to {most}",
        "Stored": f"{count:,} images {channels}×{height}×{width}, uint8, {condensed.nbytes:,} bytes",
        "Factor": f"{factor}: {tiles}",
    }
    return _table(("Fact", "Value"), list(facts.items()))


def _scores(condensed: CondensedSet) -> str:
    if not condensed.scores:
        return "Not evaluated yet: `m3d evaluate` adds a line here."
    rows = [
        (_escape(score.network), _escape(score.protocol), str(score.n), f"{score.mean:.2f} ± {score.std:.2f}")
        for score in condensed.scores
    ]
    return (
        "Test accuracy in percent of networks trained from scratch on this set alone, mean ± sample standard"
        " deviation over n networks.\n\n" + _table(("Network", "Protocol", "n", "Accuracy"), rows)
    )


def _loading(condensed: CondensedSet) -> str:
    decoding = DECODING.format(l=condensed.factor) if condensed.factor > 1 else ""
    functional = "import torch.nn.functional as F\n" if decoding else ""
    return f"""\
```python
from m3d_condense import CondensedSet

condensed = CondensedSet.load(".")  # this folder
images, labels = condensed.decode()  # float32 in [0, 1], ready to train on
```

Without the package:

```python
import torch
{functional}from safetensors.torch import load_file

stored = load_file("images.safetensors")
images, labels = stored["images"].float() / 255, stored["labels"]
{decoding}
mean, std = torch.tensor({list(condensed.mean)}), torch.tensor({list(condensed.std)})
normalised = (images - mean.view(1, -1, 1, 1)) / std.view(1, -1, 1, 1)
```"""


def _settings(condensed: CondensedSet) -> str:
    stored = {name: getattr(condensed, name) for name in ("settings", "source", "versions", "hardware")}
    return f"```json\n{json.dumps(stored, indent=2, ensure_ascii=False)}\n```"


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ("---",) * len(head), *rows])


def _escape(value: object) -> str:
    """One line of text that Markdown shows as it is, in a table too."""
    return re.sub(r"([\\`*<>|\[\]~&$]|(?<!\w)_|_(?!\w))", r"\\\1", " ".join(str(value).split()))
