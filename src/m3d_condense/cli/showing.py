"""What ``m3d info SET`` shows: what a condensed set holds, where it comes from, and its scores."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import islice

from m3d_condense.cli.finding import Found, need
from m3d_condense.cli.streams import as_shown
from m3d_condense.machine.memory import readable
from m3d_condense.sets.bits import in_bits
from m3d_condense.sets.condensed import CondensedSet
from m3d_condense.sets.folder import META
from m3d_condense.sets.soft import SoftLabels
from m3d_condense.sets.stored import scored_by
from m3d_condense.sets.text import one_line, taken
from m3d_condense.tools.files import read_json
from m3d_condense.tools.text import counted, kib, shown

MOST_NAMES = 20  # class names that are printed
MOST = 1000  # characters of a line


def print_sets(names: Sequence[str], as_json: bool = False) -> None:
    """Find and read all sets, then print what each holds; as JSON under the names of condensed.json."""
    found = [need(name) for name in names]
    sets = [CondensedSet.load(one.folder) for one in found]
    if as_json:
        told = [
            {"set": one.name, "folder": str(one.folder), "shape": list(condensed.images.shape)}
            | {"bytes": condensed.nbytes}
            | read_json(one.folder / META)
            for one, condensed in zip(found, sets, strict=True)
        ]
        print(json.dumps(told, indent=2))
        return
    print("\n\n".join("\n".join(_lines(one, condensed)) for one, condensed in zip(found, sets, strict=True)))


def _lines(found: Found, condensed: CondensedSet) -> list[str]:
    """Return a line for each fact."""
    count, channels, height, width = condensed.images.shape
    factor, source, depth = condensed.factor, condensed.source, in_bits(condensed.bits)
    tiles = f"; each holds {factor}×{factor} tiles, {count * factor**2:,} decoded images" if factor > 1 else ""
    names = ", ".join(islice(condensed.class_names, MOST_NAMES))
    more = f" and {condensed.num_classes - MOST_NAMES} more" if condensed.num_classes > MOST_NAMES else ""
    steps = taken(condensed.steps, condensed.settings)
    facts = {
        "set": found.name,
        "folder": found.folder,
        "method": _method(condensed),
        "source": f"{source.get('name', 'unnamed')}, fingerprint {source.get('fingerprint', 'unknown')}",
        "images": f"{count:,} of {channels}×{height}×{width}{depth}, {readable(condensed.nbytes)}{tiles}",
        "bytes": _bytes(condensed),
        "classes": f"{condensed.num_classes}: {names}{more}",
        "made": f"{condensed.created}, {steps} steps in {condensed.seconds:,.0f} s, seed {condensed.seed}",
    }
    if condensed.soft_labels is not None:
        facts["labels"] = f"a class an image; soft ones too, {_origin(condensed.soft_labels)}"
    if condensed.imported:
        facts["made"] = f"imported {condensed.created}"
    lines = [f"{name:9}{shown(value, MOST)}" for name, value in facts.items()]
    scores = [
        f"score    {one_line(f'{score.network}, {scored_by(condensed, score)}')}: {score.rounded(2)} % (n = {score.n})"
        for score in condensed.scores
    ]
    return [as_shown(line) for line in [*lines, *(scores or ["score    none yet: m3d evaluate adds one"])]]


def _bytes(condensed: CondensedSet) -> str:
    """Say what the pixels take, what the soft labels take, and both by class."""
    pixels, classes, soft = condensed.nbytes, condensed.num_classes, condensed.soft_labels
    if soft is None:
        return f"{pixels:,} of pixels, {kib(pixels / classes)} KiB a class"
    whole = pixels + soft.nbytes
    parts = f"{pixels:,} of pixels, {soft.nbytes:,} of soft labels, {whole:,} in all"
    return f"{parts}, {kib(whole / classes)} KiB a class"


def _origin(soft: SoftLabels) -> str:
    networks, temperature = soft.origin.get("networks"), soft.origin.get("temperature")
    if not isinstance(networks, list):
        return f"from {soft.origin.get('file', 'elsewhere')}"
    return f"of {counted(len(networks), 'network')} at temperature {temperature}"


def _method(condensed: CondensedSet) -> str:
    if not condensed.imported:
        return condensed.method
    told = condensed.settings
    return f"other code; imported from {told.get('file')}, SHA-256 {told.get('sha256')}, read as {told.get('pixels')}"
