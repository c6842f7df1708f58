"""What a run ran on: versions and hardware, to be stored beside every figure."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import torch

from m3d_condense.tools.versions import OWN, installed

PACKAGES = (OWN, "torch", "numpy", "datasets", "safetensors")


def describe_environment() -> tuple[dict[str, str], dict[str, Any]]:
    """Return the versions of Python and the packages that matter, and the processor, memory (GiB) and GPU."""
    versions = {"python": platform.python_version()} | {package: installed(package) for package in PACKAGES}
    instructions = torch.backends.cpu.get_cpu_capability()  # virtual machines hide which model it is
    hardware: dict[str, Any] = {"cpu": _cpu_model(), "instructions": instructions, "cores": os.cpu_count()}
    if hasattr(os, "sched_getaffinity"):
        hardware["cores"] = len(os.sched_getaffinity(0))
    if hasattr(os, "sysconf"):
        hardware["memory_gib"] = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    if torch.cuda.is_available():
        hardware["cuda"] = torch.cuda.get_device_name()
    return versions, hardware


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()
