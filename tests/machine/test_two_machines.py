"""Two machines, as two network namespaces of this one that a cable joins; needs root, and Linux's `ip`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from m3d_condense.sets.condensed import CondensedSet
from m3d_condense.tools.files import read_json

PATIENCE = 400.0  # seconds
CABLE = ("m3da", "m3db")

pytestmark = pytest.mark.slow


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


@pytest.fixture
def machines() -> Iterator[dict[str, str]]:
    """The namespaces, and the address of each."""
    if shutil.which("ip") is None or not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("network namespaces need root and the command ip")
    found = {f"m3d-{end}-{os.getpid()}": f"10.77.0.{number}" for number, end in enumerate(CABLE, 1)}
    try:
        try:
            for name in found:
                ip("netns", "add", name)
            ip("link", "add", CABLE[0], "type", "veth", "peer", "name", CABLE[1])
        except subprocess.CalledProcessError as error:
            pytest.skip(f"this system makes no network namespaces: {error.stderr}")
        for end, (name, address) in zip(CABLE, found.items(), strict=True):
            ip("link", "set", end, "netns", name)
            ip("-n", name, "addr", "add", f"{address}/24", "dev", end)
            for link in (end, "lo"):
                ip("-n", name, "link", "set", link, "up")
        yield found
    finally:
        for name in found:
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)


def run_on(machines: dict[str, str], *arguments: str, each: int) -> list[subprocess.Popen[str]]:
    """Start torchrun on both machines, with so many processes on each."""
    started = []
    first = next(iter(machines.values()))
    for end, (name, address) in zip(CABLE, machines.items(), strict=True):
        rendezvous = ["--rdzv-backend", "c10d", "--rdzv-endpoint", f"{first}:29400", "--rdzv-id", "test"]
        # torchrun compares names, and both have the name of this machine.
        rendezvous += ["--rdzv-conf", f"is_host={address == first}"]
        nodes = ["--nnodes", "2", "--nproc-per-node", str(each), "--local-addr", address]
        command = ["ip", "netns", "exec", name, sys.executable, "-m", "torch.distributed.run", *nodes, *rendezvous]
        started.append(
            subprocess.Popen(
                [*command, "-m", "m3d_condense", *arguments],
                env=os.environ | {"GLOO_SOCKET_IFNAME": end, "OMP_NUM_THREADS": "1"},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    return started


def check(started: list[subprocess.Popen[str]]) -> list[str]:
    """Wait for the machines, and return what they printed."""
    try:
        ended = [process.communicate(timeout=PATIENCE) for process in started]
    finally:
        for process in started:
            process.kill()
    for process, (_, errors) in zip(started, ended, strict=True):
        assert process.returncode == 0, errors
    return [out for out, _ in ended]


def test_two_machines_make_the_set_of_one(machines: dict[str, str], tmp_path: Path) -> None:
    asked = ["condense", "digits", "--ipc", "2", "--iterations", "30"]
    printed = check(run_on(machines, *asked, "--out", str(tmp_path / "two"), each=2))
    assert "".join(printed).split() == [str(tmp_path / "two")], "one process prints"
    subprocess.run([sys.executable, "-m", "m3d_condense", *asked, "-q", "--out", str(tmp_path / "one")], check=True)
    two, one = (CondensedSet.load(tmp_path / name) for name in ("two", "one"))
    assert torch.equal(two.images, one.images)
    assert two.hardware["used"].endswith("4 processes")


def test_two_machines_make_the_table_of_one(machines: dict[str, str], tmp_path: Path) -> None:
    asked = ["compare", "digits", "--methods", "dm", "--ipc", "1", "2", "--seeds", "2", "--iterations", "20"]
    asked += ["--repeats", "1", "--epochs", "5", "--no-whole"]
    check(run_on(machines, *asked, "--out", str(tmp_path / "two"), each=1))
    subprocess.run([sys.executable, "-m", "m3d_condense", *asked, "-q", "--out", str(tmp_path / "one")], check=True)
    two, one = (read_json(tmp_path / name / "comparison.json")["rows"] for name in ("two", "one"))
    assert [(row["method"], row["ipc"], row["mean"]) for row in two] == [
        (row["method"], row["ipc"], row["mean"]) for row in one
    ]
