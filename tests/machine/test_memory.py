from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from m3d_condense.machine import memory


def test_the_peak_is_of_what_happened_since() -> None:
    torch.ones(2**25)  # 128 MiB, let go at once
    nothing, kind = memory.peak_memory(torch.device("cpu"))()
    peak = memory.peak_memory(torch.device("cpu"))
    torch.ones(2**24)  # 64 MiB
    most, _ = peak()
    assert nothing is not None
    assert most is not None
    if kind == "run":
        assert 50 * 2**20 < most - nothing < 100 * 2**20


def test_without_a_way_to_begin_anew_the_peak_is_the_processs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(memory, "RESET", tmp_path / "none" / "clear_refs")
    most, kind = memory.peak_memory(torch.device("cpu"))()
    assert kind == "process"
    assert most is not None
    assert most > 2**20


@pytest.mark.parametrize(
    "exhaust",
    [
        pytest.param(lambda: bytearray(2**60), id="Python"),
        pytest.param(lambda: torch.empty(2**60, dtype=torch.uint8), id="torch, a tensor"),
        pytest.param(lambda: torch.zeros(1).expand(2**50).split(1), id="torch, a list"),
    ],
)
def test_every_word_for_too_little_memory_is_known(exhaust: Callable[[], object]) -> None:
    with pytest.raises((MemoryError, RuntimeError)) as raised:
        exhaust()
    assert memory.ran_out(raised.value)


def test_other_errors_are_not_taken_for_it() -> None:
    with pytest.raises(RuntimeError) as raised:
        torch.ones(2) @ torch.ones(3)
    assert not memory.ran_out(raised.value)
    assert not memory.ran_out(ValueError("out of memory"))


@pytest.mark.parametrize(
    ("count", "text"), [(None, ""), (640, "640 B"), (1280, "1.2 KiB"), (30720, "30 KiB"), (3 * 2**29, "1.5 GiB")]
)
def test_bytes_are_readable(count: int | None, text: str) -> None:
    assert memory.readable(count) == text


def system(root: Path, files: dict[str, str]) -> Path:
    """Lay out files as the system has them."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


MACHINE = {"proc/meminfo": "MemTotal: 900 kB\nMemAvailable:    300 kB\nSwapFree:   100 kB\n"}


def test_the_machine_s_free_memory_is_available(tmp_path: Path) -> None:
    assert memory.available_memory(system(tmp_path, MACHINE)) == 400 * 1024
    assert memory.available_memory(tmp_path / "none") is None


def test_a_control_group_of_version_2_sets_the_limit(tmp_path: Path) -> None:
    group = {
        "proc/self/cgroup": "0::/outer/inner\n",
        "sys/fs/cgroup/outer/memory.max": "150000\n",
        "sys/fs/cgroup/outer/memory.current": "100000\n",
        "sys/fs/cgroup/outer/memory.stat": "anon 70000\ninactive_file 20000\n",
        "sys/fs/cgroup/outer/inner/memory.max": "max\n",
        "sys/fs/cgroup/outer/inner/memory.current": "90000\n",
        "sys/fs/cgroup/outer/inner/memory.stat": "inactive_file 1\n",
    }
    assert memory.available_memory(system(tmp_path, MACHINE | group)) == 70000
    (tmp_path / "sys/fs/cgroup/outer/memory.current").write_text("200000")
    assert memory.available_memory(tmp_path) == 0


def test_a_control_group_of_version_1_sets_the_limit(tmp_path: Path) -> None:
    group = {
        "proc/self/cgroup": "9:name=systemd:/\n4:cpu,memory:/docker/abc\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "150000\n",  # a container sees its group as the root
        "sys/fs/cgroup/memory/memory.usage_in_bytes": "100000\n",
        "sys/fs/cgroup/memory/memory.stat": "inactive_file 5\ntotal_inactive_file 20000\n",
    }
    assert memory.available_memory(system(tmp_path, MACHINE | group)) == 70000


def test_this_machine_tells_its_memory() -> None:
    available = memory.available_memory()
    assert available is None or available > 2**20
