"""What a condensed set says of itself: the data card, its README.md."""

from __future__ import annotations

import json
import re
from itertools import islice
from pathlib import Path
from typing import Any

from m3d_condense.recipes.recipe import FULL
from m3d_condense.sets.bits import in_bits
from m3d_condense.sets.condensed import CondensedSet
from m3d_condense.sets.origins import origin
from m3d_condense.sets.stored import scored_by
from m3d_condense.sets.tables import TABLES
from m3d_condense.sets.text import escaped_json, one_line, taken

MAX_NAMES = 100  # class names spelled out in the card
TEMPLATE = Path(__file__).with_name("card.md.jinja")


def card(condensed: CondensedSet) -> str:
    """Markdown text with the hub's YAML header: facts, scores, how to load, settings, citation."""
    from huggingface_hub import DatasetCard, DatasetCardData

    count, factor = len(condensed.images), condensed.factor
    stored = {name: getattr(condensed, name) for name in ("settings", "source", "versions", "hardware")}
    if condensed.soft_labels is not None:
        stored["soft_labels"] = condensed.soft_labels.origin
    content = DatasetCard.from_template(
        DatasetCardData(**_header(condensed)),
        template_path=str(TEMPLATE),
        source=_escape(condensed.source.get("name", "an unnamed source")),
        method=_escape(condensed.maker),
        imported=condensed.imported,
        stored_count=f"{count:,}",
        decoded_count=f"{count * factor**2:,}",
        factor=factor,
        bits=condensed.bits,
        shape=list(condensed.images.shape[1:]),
        soft=condensed.soft_labels is not None,
        facts=_facts(condensed),
        scores=_scores(condensed),
        mean=list(condensed.mean),
        std=list(condensed.std),
        created=_escape(condensed.created),
        seconds=f"{condensed.seconds:,.0f}",
        seed=condensed.seed,
        settings=escaped_json(json.dumps(stored, indent=2, ensure_ascii=False)),
    ).content
    return f"{content}\n"


def _header(condensed: CondensedSet) -> dict[str, Any]:
    """What the hub and `datasets` read: the tables of the set, and the words by which it is found."""
    name, method = one_line(condensed.source.get("name", "unnamed")), one_line(condensed.method)
    paper = [] if condensed.imported else ["arxiv:2312.15927"]
    known = origin(condensed.source.get("data"))
    return {
        "pretty_name": f"{name}, condensed by {one_line(condensed.maker)}",
        "license": known.licence if known else None,
        "source_datasets": [known.hub_id] if known and known.hub_id else None,
        "task_categories": ["image-classification"],
        "size_categories": [_size_category(len(condensed.images) * condensed.factor**2)],
        "library_name": "m3d-condense",
        "tags": ["dataset-condensation", "dataset-distillation", "m3d-condense", *paper, method],
        "configs": [
            {"config_name": config, "data_files": [{"split": "train", "path": table}]}
            for config, table in TABLES.items()
        ],
    }


def _size_category(count: int) -> str:
    """Name the hub's bracket for `count` examples, such as 1K<n<10K."""
    names = ["1K", "10K", "100K", "1M", "10M"]
    above = [name for power, name in enumerate(names) if count >= 10 ** (power + 3)]
    if not above:
        return "n<1K"
    upper = [*names, "100M"][len(above)]
    return f"{above[-1]}<n<{upper}"


def _facts(condensed: CondensedSet) -> dict[str, str]:
    count, channels, height, width = condensed.images.shape
    names = ", ".join(map(_escape, islice(condensed.class_names, MAX_NAMES)))
    more = ", … (all of them in `condensed.json`)" if condensed.num_classes > MAX_NAMES else ""
    least, most = condensed.ipc, int(condensed.labels.bincount().max())
    known = origin(condensed.source.get("data"))
    factor = condensed.factor
    tiles = "every stored image is one training image"
    if factor > 1:
        tiles = (
            f"every stored image holds {factor}×{factor} tiles; decoding cuts them apart and enlarges each by"
            f" bilinear up-sampling, which makes {count * factor**2:,} training images"
        )
    return {
        **_making(condensed),
        "Source": _escape(condensed.source.get("name", "unnamed")),
        "Licence of the source": known.licence if known and known.licence else "unknown",
        "Fingerprint of the source": _escape(condensed.source.get("fingerprint", "unknown")),
        "Classes": f"{condensed.num_classes}: {names}{more}",
        "Images per class": str(least) if least == most else f"{least} to {most}",
        "Stored": f"{count:,} images {channels}×{height}×{width}, {_depth(condensed)}, {condensed.nbytes:,} bytes",
        **_soft(condensed),
        "Factor": f"{factor}: {tiles}",
    }


def _depth(condensed: CondensedSet) -> str:
    return "uint8" if condensed.bits == FULL else f"packed{in_bits(condensed.bits)}"


def _soft(condensed: CondensedSet) -> dict[str, str]:
    """What the soft labels are and take, of a set that has them."""
    soft = condensed.soft_labels
    if soft is None:
        return {}
    count, classes = soft.probabilities.shape
    told = f"{classes} probabilities for each of {count:,} decoded images, float16, {soft.nbytes:,} bytes"
    return {"Soft labels": told, "Stored in all": f"{condensed.nbytes + soft.nbytes:,} bytes"}


def _making(condensed: CondensedSet) -> dict[str, str]:
    """How the set came about: by a method here, or from a file."""
    if not condensed.imported:
        steps = f"{taken(condensed.steps, condensed.settings)} in {condensed.seconds:,.0f} seconds"
        return {"Method": _escape(condensed.method), "Steps": steps}
    told = {name: _escape(condensed.settings.get(name, "unknown")) for name in ("file", "sha256", "pixels")}
    return {
        "Method": "made by other code, and imported",
        "File": f"{told['file']}, SHA-256 {told['sha256']}",
        "Values in the file": told["pixels"],
    }


def _scores(condensed: CondensedSet) -> list[tuple[str, ...]]:
    return [
        (_escape(score.network), _escape(scored_by(condensed, score)), str(score.n), score.rounded(2))
        for score in condensed.scores
    ]


def _escape(value: object) -> str:
    """One line of text that Markdown shows as it is, in a table too."""
    return re.sub(r"([\\`*<>|\[\]~&$]|(?<!\w)_|_(?!\w))", r"\\\1", one_line(value))
