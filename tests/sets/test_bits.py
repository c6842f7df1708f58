from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from condensed_sets import make, make_packed, make_soft, soft_labels
from safetensors.torch import load_file, save_file

from m3d_condense.condensing.condensation import condense
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.machine.execution import Execution
from m3d_condense.sets.bits import bytes_of, in_bits, on_levels, packed, quantised, rounded, unpacked
from m3d_condense.sets.condensed import CondensedSet
from m3d_condense.tools.errors import UserError

SHAPES = [(1, 1, 1, 1), (2, 3, 4, 4), (3, 1, 5, 7), (5, 3, 3, 3)]
TINY: dict[str, Any] = {"method": "dm", "ipc": 2, "iterations": 5, "batch_real": 4, "network": "convnet1", "lr": 0.1}


def noise(shape: tuple[int, ...], bits: int) -> torch.Tensor:
    return quantised(torch.rand(shape, generator=torch.Generator().manual_seed(0)), bits)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("shape", SHAPES)
def test_images_are_packed_value_after_value(shape: tuple[int, ...], bits: int) -> None:
    images = noise(shape, bits)
    stored = packed(images, bits)
    assert stored.dtype == torch.uint8
    assert stored.nbytes == bytes_of(shape, bits)
    for row, image in zip(stored.tolist(), images.flatten(1).tolist(), strict=True):
        digits = "".join(f"{value * (2**bits - 1) // 255:0{bits}b}" for value in image)
        expected = digits.ljust(8 * len(row), "0")
        assert "".join(f"{byte:08b}" for byte in row) == expected
    assert torch.equal(unpacked(stored, shape, bits), images)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_values_are_rounded_to_the_nearest_level_and_their_gradient_is_not(bits: int) -> None:
    values = torch.linspace(0, 1, 257).requires_grad_()
    found, levels = rounded(values, bits), torch.arange(2**bits) / (2**bits - 1)
    distance = (values.detach().unsqueeze(1) - levels).abs().min(1).values
    torch.testing.assert_close((found - values).detach().abs(), distance, atol=1e-6, rtol=0)
    weights = torch.randn(257, generator=torch.Generator().manual_seed(0))
    (gradient,) = torch.autograd.grad((weights * found).sum(), values)
    assert torch.equal(gradient, weights)
    torch.testing.assert_close(quantised(values.detach(), bits).float() / 255, found.detach(), atol=1e-6, rtol=0)


@pytest.mark.parametrize(("bits", "said"), [(8, ""), (4, " in 4 bits a channel"), (1, " in 1 bit a channel")])
def test_bits_are_said_where_they_are_not_the_usual(bits: int, said: str) -> None:
    assert in_bits(bits) == said


def test_eight_bits_are_not_rounded_in_the_loop() -> None:
    values = torch.rand(10)
    assert rounded(values, 8) is values


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_a_set_is_condensed_to_its_levels_and_found_again(
    bits: int, digits: ImageDataset, plain: Execution, tmp_path: Path
) -> None:
    made = condense(digits, bits=bits, out=tmp_path / "set", execution=plain, **TINY)
    assert made.bits == bits
    assert on_levels(made.images, bits)
    assert len(made.images.unique()) == 2**bits
    assert made.nbytes == 20 * 64 * bits // 8
    loaded = CondensedSet.load(tmp_path / "set")
    assert torch.equal(loaded.images, made.images)
    assert (loaded.bits, loaded.nbytes, loaded.fingerprint) == (bits, made.nbytes, made.fingerprint)
    assert load_file(tmp_path / "set" / "images.safetensors")["images"].nbytes == made.nbytes
    assert json.loads((tmp_path / "set" / "condensed.json").read_text())["format_version"] == 3
    assert f"packed{in_bits(bits)}, {made.nbytes:,} bytes" in (tmp_path / "set" / "README.md").read_text()


def test_the_steps_see_what_is_stored(digits: ImageDataset, plain: Execution) -> None:
    start = condense(digits, bits=1, execution=plain, **TINY | {"iterations": 0})
    made = condense(digits, bits=1, execution=plain, **TINY | {"iterations": 30})
    after = condense(digits, execution=plain, **TINY | {"iterations": 30})
    late = quantised(after.images.float() / 255, 1)  # rounded when all is over, which the steps did not know of
    assert not torch.equal(made.images, start.images)
    assert not torch.equal(made.images, late)


def test_soft_labels_lie_beside_packed_pixels(tmp_path: Path) -> None:
    condensed = make_packed(2)
    condensed.save(tmp_path / "set")
    condensed.add_soft_labels(soft_labels(condensed), tmp_path / "set")
    loaded = CondensedSet.load(tmp_path / "set")
    assert loaded.soft_labels is not None
    assert torch.equal(loaded.soft_labels.probabilities, make_soft().soft_labels.probabilities)  # type: ignore[union-attr]
    assert loaded.bytes_for("soft") == loaded.nbytes + loaded.soft_labels.nbytes


@pytest.mark.parametrize("bits", [0, 3, 16, -1, True, "4", None, 2.5, 2.0, [2]])
def test_other_bits_are_refused(bits: Any, digits: ImageDataset, tmp_path: Path) -> None:
    if bits is not None:
        with pytest.raises(UserError, match="bits"):
            condense(digits, bits=bits, **TINY)
    folder = make_packed(4).save(tmp_path / "set")
    file = folder / "condensed.json"
    content = json.loads(file.read_text())
    content["settings"]["bits"] = bits
    file.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"condensed.json is damaged: .*bits"):
        CondensedSet.load(folder)


def test_parts_of_two_sets_are_refused(tmp_path: Path) -> None:
    folder, other = make_packed(4).save(tmp_path / "set"), make_packed(2).save(tmp_path / "other")
    (folder / "images.safetensors").write_bytes((other / "images.safetensors").read_bytes())
    with pytest.raises(UserError, match="are not of one set"):
        CondensedSet.load(folder)
    (folder / "images.safetensors").write_bytes((make().save(other) / "images.safetensors").read_bytes())
    with pytest.raises(UserError, match="is not of a condensed set of format version 3"):
        CondensedSet.load(folder)
    labels = torch.arange(3).repeat_interleave(2)
    for images in (torch.zeros(6, 5, dtype=torch.uint8), torch.zeros(96, 6, dtype=torch.uint8), torch.zeros(6, 96)):
        save_file({"images": images, "labels": labels}, folder / "images.safetensors", {"format_version": "3"})
        with pytest.raises(UserError, match="are not of one set"):
            CondensedSet.load(folder)


def test_images_beside_their_levels_are_refused() -> None:
    settings = {"bits": 4}
    with pytest.raises(UserError, match="hold other values than those of 4 bits a channel"):
        make(settings=settings)


def test_a_set_grows_in_its_own_bits_alone(digits: ImageDataset, plain: Execution) -> None:
    first = condense(digits, bits=2, execution=plain, **TINY | {"ipc": 1})
    grown = condense(digits, bits=2, start_from=first, execution=plain, **TINY)
    assert torch.equal(grown.images[::2], first.images)
    finer = condense(digits, bits=4, start_from=first, execution=plain, **TINY)  # whose levels have those of 2 bits
    assert torch.equal(finer.images[::2], first.images)
    with pytest.raises(UserError, match="has 2 bits a channel, but this run 1; give bits=2"):
        condense(digits, bits=1, start_from=first, execution=plain, **TINY)
