"""Native code that cannot do its work says so to its caller: the process, and all that is in it, goes on."""

from __future__ import annotations

import ctypes
import itertools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from native_blocks import layers, noise
from torch import Tensor

from m3d_condense.machine import native
from m3d_condense.machine.native import building, calls

# Put before the code where it is compiled: once as many allocations as are allowed were made, all others fail.
RATIONED = """
#include <cstdlib>
extern "C" {
long allowed = -1;  // below zero: as many as are asked for
}
namespace std {
inline void* rationed(size_t alignment, size_t size) {
    if (allowed == 0) return nullptr;
    if (allowed > 0) allowed--;
    return aligned_alloc(alignment, size);
}
}
#define aligned_alloc rationed
"""


pytestmark = pytest.mark.usefixtures("native_code")


@pytest.fixture(scope="module")
def rationed(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    header = tmp_path_factory.mktemp("header") / "rationed.h"
    header.write_text(RATIONED)
    machine = building.MACHINES.get(torch.backends.cpu.get_cpu_capability(), ())
    return building.build(("-include", str(header), "-O1", *machine))


NAMES = (
    "forward",
    "forward_kept",
    "backward",
    "backward to images",
    "backward to weights",
    "forward_dot",
    "backward_dot",
)


def functions(channels: int) -> dict[str, Callable[[], object]]:
    """Every function of the native code by its name in NAMES, on few images or maps."""
    images = calls.last(noise(5, channels, 8, 8))
    weights = calls.Weights.of(layers(channels, 32, 1).requires_grad_(False), torch.float32)
    shape, dot = images.shape, weights.convolution
    out, maps = calls.forward_kept(images, weights)
    of_output, maps_dot = calls.forward_dot(images, None, weights, dot, maps)
    found = (
        lambda: calls.forward(images, weights),
        lambda: calls.forward_kept(images, weights),
        lambda: calls.backward(shape, images, weights, maps, out, True),
        lambda: calls.backward(shape, None, weights, maps, out, True),
        lambda: calls.backward(shape, images, weights, maps, out, False),
        lambda: calls.forward_dot(images, images, weights, dot, maps),
        lambda: calls.backward_dot(shape, weights, dot, maps, maps_dot, out, of_output),
    )
    return dict(zip(NAMES, found, strict=True))


def flat(result: object) -> list[Tensor]:
    if isinstance(result, Tensor):
        return [result]
    return [part for one in result or () for part in flat(one)]  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("channels", [3, 32])
def test_any_allocation_that_fails_is_a_memory_error(
    rationed: ctypes.CDLL, channels: int, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building, "library", lambda products: rationed)
    allowed = ctypes.c_long.in_dll(rationed, "allowed")
    function, threads = functions(channels)[name], torch.get_num_threads()
    torch.set_num_threads(2)
    expected, said = function(), []
    try:
        for count in itertools.count():
            allowed.value = count
            try:
                got = function()
                break
            except MemoryError as error:
                said.append(str(error))
    finally:
        allowed.value = -1
        torch.set_num_threads(threads)
    assert len(said) > 2 * 3  # each of two threads takes three pieces or more
    assert set(said) == {"native blocks ran out of memory"}
    assert flat(expected)
    assert all(map(torch.equal, flat(got), flat(expected)))


LIMITED = """
import resource, torch
from pathlib import Path
from torch import nn
from m3d_condense.machine import native
from m3d_condense.machine.memory import ran_out

torch.set_num_threads(1)
block = nn.Sequential(nn.Conv2d(1, 32, 3, padding=1), nn.GroupNorm(32, 32), nn.ReLU(), nn.AvgPool2d(2))
small, large = (torch.zeros(1, 1, side, side, requires_grad=True) for side in (8, 768))
native.block(small, block).sum().backward()
backward = native.block(large, block).sum().backward

def limit():  # 40 MiB more than there is: a map of the large image takes 72, what is left of it 18
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 40 * 2**20, resource.RLIM_INFINITY))

limit()
for work in (backward, lambda: native.block(large.detach(), block.requires_grad_(False))):
    try:
        work()
        print("there was enough")
    except MemoryError as error:
        print(error, ran_out(error))
native.block(small, block).sum().backward()
print("went on")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits a process's memory so")
def test_a_process_whose_memory_is_limited_goes_on() -> None:
    done = subprocess.run([sys.executable, "-c", LIMITED], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [*["native blocks ran out of memory True"] * 2, "went on"]


@pytest.mark.parametrize("channels", [3, 32])
def test_no_images_give_no_maps_and_no_gradients(channels: int) -> None:
    block, images = layers(channels, 32, 1), torch.zeros(0, channels, 8, 8).requires_grad_()
    out = native.block(images, block)
    out.sum().backward()
    assert out.shape == (0, 32, 4, 4)
    assert images.grad is not None
    assert images.grad.shape == images.shape
    assert block[0].weight.grad is not None
    assert not block[0].weight.grad.any()  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((2, 1, 8, 8), "1 channels, the weights 3"),
        ((2, 4, 8, 8), "4 channels, the weights 3"),
        ((2, 3, 0, 8), "0×8 are too small"),
        ((2, 3, 8, 1), "8×1 are too small"),
    ],
)
def test_images_that_would_be_read_past_their_end_are_refused(shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        native.block(noise(*shape), layers(3, 32, 1))


def test_a_cache_that_cannot_be_written_is_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("M3D_CACHE", str(tmp_path / "file" / "cache"))
    built = building.build(("-O0",))
    assert isinstance(built, ctypes.CDLL)
    assert built.panel() > 0
