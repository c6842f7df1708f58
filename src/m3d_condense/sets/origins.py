"""Where known data sets lie on the hub, and the licences their cards there state: what a card says of its source."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from m3d_condense.data.hub import HUB_SETS
from m3d_condense.data.imagenet import SUBSETS


@dataclass(frozen=True, kw_only=True)
class Origin:
    """A data set that is known in public.

    Attributes:
        hub_id: on the Hugging Face hub; None where it does not come from there.
        licence: in the hub's words, "unknown" where the source states none; None where nobody looked.
    """

    hub_id: str | None
    licence: str | None = None


# Each licence is what the named page said when it was looked up, in November 2026.
LICENCES = {
    # UCI, data set 80, doi.org/10.24432/C50P49: Creative Commons Attribution 4.0 International.
    "digits": "cc-by-4.0",
    # huggingface.co/datasets/ylecun/mnist: license mit.
    "mnist": "mit",
    # huggingface.co/datasets/zalando-datasets/fashion_mnist: mit, as the LICENSE of zalandoresearch/fashion-mnist.
    "fashion-mnist": "mit",
    # huggingface.co/datasets/ufldl-stanford/svhn: license other; its authors allow non-commercial use only.
    "svhn": "other",
    # huggingface.co/datasets/uoft-cs/cifar10 and cifar100: license unknown.
    "cifar10": "unknown",
    "cifar100": "unknown",
    # ImageNet's Terms of Access (non-commercial research and education), which copies on the hub state as: license
    # other, license_details imagenet-agreement.
    **dict.fromkeys(SUBSETS, "other"),
}
ORIGINS = {
    name: Origin(hub_id=HUB_SETS[name].id if name in HUB_SETS else None, licence=licence)
    for name, licence in LICENCES.items()
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
