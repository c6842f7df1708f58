"""What the ``.pt`` files of public code hold: images and labels, in one of four layouts.

=============  ==========================================================  =======================================
layout         what ``torch.load`` gives                                   written by
=============  ==========================================================  =======================================
experiments    {"data": [[images, labels], …], "accs_all_exps": …}         DC, DSA, DM, IDM: ``res_*.pt``
pair           [images, labels]                                            IDC, DREAM, DANCE, NCFM: ``data*.pt``
two files      images, beside them a file of labels                        MTT, DATM: ``images_*.pt``, ``labels_*.pt``
export         {"images": …, "labels": …, "class_names": …, "factor": …}   ``m3d export --to pt``
=============  ==========================================================  =======================================

Sources, of which facts alone were taken: github.com/VICO-UoE/DatasetCondensation (main.py, main_DM.py), uitrbn/IDM
(IDM_cifar10.py), snu-mllab/Efficient-Dataset-Condensation (condense.py, test.py), Hansong-Zhang/DANCE (test.py),
gszfwsb/NCFM (utils/ddp.py), GeorgeCazenavette/mtt-distillation (distill.py), NUS-HPC-AI-Lab/DATM (distill/DATM.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from m3d_condense.recipes.recipe import BITS
from m3d_condense.sets.exporting import MARK
from m3d_condense.sets.torch_files import read_torch
from m3d_condense.tools.errors import Setting, UserError
from m3d_condense.tools.progress import notice

KNOWN = "{'data': [[images, labels], …]}, [images, labels], or images with a second file of labels"


@dataclass(frozen=True, kw_only=True, eq=False)
class Content:
    """What a file holds.

    Attributes:
        images: N×C×H×W, uint8 or float32, finite, C 1 or 3; what their values mean, the file does not say.
        labels: N int64, or N×K float32 of soft labels.
        soft: (N·l²)×K float32, probabilities of the decoded images, where the file has them beside the labels.
        layout: its name, see above.
        labels_file: where the labels are, if not in the file of the images.
        class_names, factor, mean, std, bits: where the file says them.
        levels: whether it says that the values of its images are levels, not normalised or whitened ones.
    """

    images: Tensor
    labels: Tensor
    layout: str
    labels_file: Path | None = None
    soft: Tensor | None = None
    class_names: tuple[str, ...] | None = None
    factor: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    bits: int | None = None
    levels: bool = False


def read_layout(file: Path, labels: Path | None = None, experiment: int | None = None) -> Content:
    """Read a file of public code; nothing in it is executed.

    Args:
        file: of images, or of images and labels.
        labels: the file of labels, where they lie in one of their own; by default the one that is named as `file`, with
            "labels" in place of "images".
        experiment: which of the sets of the file, counted from 1; None takes the first, and says so.

    Raises:
        UserError: it is damaged, holds objects or another layout; the message names the file.
    """
    content = read_torch(file)
    single = isinstance(content, Tensor)
    several = isinstance(content, dict) and isinstance(content.get("data"), list | tuple)
    if experiment not in (None, 1) and not several:
        raise UserError(f"{file} holds one set; leave it out", setting="experiment", value=experiment)
    if labels is not None and not single:
        raise UserError(f"{file} holds labels of its own", setting="labels", value=labels)
    if single:
        beside = labels if labels is not None else _labels_beside(file)
        return _content(file, content, read_torch(beside), layout="two files", labels_file=beside)
    if several:
        return _experiment(file, content["data"], experiment)
    if isinstance(content, dict) and {"images", "labels"} <= content.keys():
        return _export(file, content)
    if isinstance(content, list | tuple) and len(content) == 2:
        return _content(file, *content, layout="pair")
    raise UserError(f"{file} holds {_kind(content)}; known are {KNOWN}")


def _labels_beside(file: Path) -> Path:
    name = file.name.replace("_zca", "").replace("images", "labels")  # MTT has one file of labels for both
    beside = file.with_name(name)
    if name == file.name or not beside.is_file():
        raise UserError(f"{file} holds images alone; {Setting('labels', 'FILE')} says where their labels are")
    return beside


def _experiment(file: Path, data: Sequence[Any], number: int | None) -> Content:
    if number is None and len(data) > 1:
        notice(f"{file} holds {len(data)} sets; the first is taken, and {Setting('experiment', 'N')} takes another")
    number = 1 if number is None else number
    if not 1 <= number <= len(data):
        raise UserError(f"{file} holds {len(data)} of them, counted from 1", setting="experiment", value=number)
    chosen = data[number - 1]
    if not isinstance(chosen, list | tuple) or len(chosen) != 2:
        raise UserError(f"{file} holds in 'data' {_kind(chosen)}, not pairs of images and labels")
    return _content(file, *chosen, layout="experiments")


def _export(file: Path, content: dict[str, Any]) -> Content:
    """Take an export of this package, whose further entries are as it writes them, or not there."""
    known: dict[str, Any] = {"levels": content.get("made_by") == MARK}
    names, factor, bits = (content.get(name) for name in ("class_names", "factor", "bits"))
    if isinstance(names, list) and all(isinstance(name, str) for name in names):
        known["class_names"] = tuple(names)
    if isinstance(factor, int) and factor >= 1:
        known["factor"] = factor
    if isinstance(bits, int) and bits in BITS:
        known["bits"] = bits
    for name in ("mean", "std"):
        values = content.get(name)
        if isinstance(values, list) and all(isinstance(value, float) for value in values):
            known[name] = tuple(values)
    if isinstance(content.get("soft_labels"), Tensor) and isinstance(content["images"], Tensor):
        soft = _plain(file, content["soft_labels"])
        if soft.ndim != 2:
            raise UserError(f"{file}: soft labels of the shape {tuple(soft.shape)}; N×K are known")
        known["soft"] = _labels(file, soft, len(content["images"]) * known.get("factor", 1) ** 2, "soft labels")
    return _content(file, content["images"], content["labels"], layout="export", **known)


def _content(
    file: Path, images: Any, labels: Any, *, layout: str, labels_file: Path | None = None, **known: Any
) -> Content:
    if not isinstance(images, Tensor) or not isinstance(labels, Tensor):
        where = f" with {labels_file}" if labels_file else ""
        raise UserError(f"{file}{where} holds {_kind(images)} and {_kind(labels)}, not tensors of images and of labels")
    pixels, beside = _images(file, _plain(file, images)), labels_file or file
    found = _labels(beside, _plain(beside, labels), len(pixels))
    return Content(images=pixels, labels=found, layout=layout, labels_file=labels_file, **known)


def _plain(file: Path, tensor: Tensor) -> Tensor:
    """Return a tensor of numbers in memory; a file may hold others."""
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type != "cpu" or tensor.is_complex():
        raise UserError(f"{file} holds a tensor that is sparse, quantized, complex or empty of data; save it as floats")
    return tensor.detach()


def _images(file: Path, images: Tensor) -> Tensor:
    if images.ndim != 4 or images.shape[1] not in (1, 3) or 0 in images.shape:
        raise UserError(f"{file} holds images of the shape {tuple(images.shape)}, not N×C×H×W with C 1 or 3")
    if images.dtype == torch.uint8:
        return images.contiguous()
    if not images.is_floating_point():
        raise UserError(f"{file} holds images of {_kind(images)}; floats and uint8 are known")
    images = images.float().contiguous()
    if not images.isfinite().all():
        raise UserError(f"{file} holds images with NaN or infinite values: the run that made them failed")
    return images


def _labels(file: Path, labels: Tensor, count: int, called: str = "labels") -> Tensor:
    if labels.ndim not in (1, 2) or len(labels) != count or 0 in labels.shape or labels.dtype == torch.bool:
        raise UserError(f"{file}: {called} of the shape {tuple(labels.shape)} for {count} images; N or N×K are known")
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if not labels.double().isfinite().all():
        raise UserError(f"{file}: {called} with NaN or infinite values")
    if labels.ndim == 2:
        return labels.float()
    if labels.is_floating_point() and (labels != labels.round()).any():
        raise UserError(f"{file}: {called} that are no whole numbers")
    return labels.long()


def _kind(value: Any) -> str:
    """Say what a value is, in a few words."""
    if isinstance(value, Tensor):
        return f"a tensor of {str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
    if isinstance(value, dict):
        shown = ", ".join(sorted(str(key)[:30] for key in value)[:6])
        return f"a dict with {shown or 'nothing'}{', …' if len(value) > 6 else ''}"
    if isinstance(value, list | tuple):
        return f"a {type(value).__name__} of {len(value)}"
    return f"a {type(value).__name__}"
