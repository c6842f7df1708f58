"""Where known data sets lie on the hub, and the licences their cards there state: what a card says of its source."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Origin:
    """A data set that is known in public.

    Attributes:
        hub_id: on the Hugging Face hub; None where it does not come from there.
        licence: in the hub's words, "unknown" where the source states none; None where nobody looked.
    """

    hub_id: str | None
    licence: str | None = None


ORIGINS = {
    "digits": Origin(hub_id=None, licence="cc-by-4.0"),  # UCI, optical recognition of handwritten digits
    "mnist": Origin(hub_id="ylecun/mnist", licence="mit"),
    "fashion-mnist": Origin(hub_id="zalando-datasets/fashion_mnist", licence="mit"),
    "svhn": Origin(hub_id="ufldl-stanford/svhn", licence="other"),
    "cifar10": Origin(hub_id="uoft-cs/cifar10", licence="unknown"),
    "cifar100": Origin(hub_id="uoft-cs/cifar100", licence="unknown"),
    "imagenet-10": Origin(hub_id="ILSVRC/imagenet-1k", licence="other"),
    "imagenet-100": Origin(hub_id="ILSVRC/imagenet-1k", licence="other"),
}


def origin(data: Any) -> Origin | None:
    """Return what is known of the `data` that was loaded: a name, or a hub id; None for a user's own files."""
    if not isinstance(data, str):
        return None
    if data in ORIGINS:
        return ORIGINS[data]
    hub_id = data.partition(":")[0]
    known = [entry for entry in ORIGINS.values() if entry.hub_id == hub_id]
    if known:
        return known[0]
    return Origin(hub_id=hub_id) if re.fullmatch(r"\w[\w.-]*/[\w.-]+", hub_id) else None
