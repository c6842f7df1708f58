"""Memory and time of data that do not fit: photographs decoded onto disk, a few steps from there, a second start.

The folder holds a thousand photographs under very many names, so that it takes little disk itself; the store takes
what the decoded images do.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.harness import parse, parser, record
from benchmarks.tables import MIB, duration
from m3d_condense.tools.files import write_file_atomic

CLASSES, PHOTOGRAPHS = 10, 1000
STATUS = Path("/proc/self/status")


def photographs(folder: Path, count: int, side: int) -> None:
    """Write a thousand smooth random photographs, and link them into the folders of ten classes, `count` in all."""
    drawn = np.random.default_rng(0)
    originals = []
    for number in range(min(PHOTOGRAPHS, count)):
        coarse = Image.fromarray(drawn.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        originals.append(folder / f"{number}.original")
        coarse.resize((side, side), Image.Resampling.BICUBIC).save(originals[-1], "JPEG")
    for number in range(count):
        place = folder / "train" / f"class{number % CLASSES}" / f"{number}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        os.link(originals[number % len(originals)], place)
    for number in range(CLASSES):
        place = folder / "test" / f"class{number}" / "0.jpg"
        place.parent.mkdir(parents=True)
        os.link(originals[number], place)
    for original in originals:
        original.unlink()


def resident(*names: str) -> int:
    """Return bytes of this process's memory by their names in its status: VmRSS is all, RssAnon without files."""
    lines = (line.split() for line in STATUS.read_text().splitlines())
    return 1024 * sum(int(words[1]) for words in lines if words[0].rstrip(":") in names)


@contextmanager
def watched(found: dict[str, Any], name: str) -> Iterator[None]:
    """Note the seconds of the block, and the most memory of the process meanwhile, looked at often."""
    most, ended = {"VmRSS": 0, "RssAnon": 0}, threading.Event()

    def look() -> None:
        while not ended.wait(0.02):
            for kind in most:
                most[kind] = max(most[kind], resident(kind))

    thread = threading.Thread(target=look)
    thread.start()
    begun = time.perf_counter()
    try:
        yield
    finally:
        seconds = time.perf_counter() - begun
        ended.set()
        thread.join()
        found[name] = {"seconds": seconds, "resident": most["VmRSS"], "anonymous": most["RssAnon"]}


def child(folder: Path, side: int, steps: int) -> None:
    """Load, condense and load again in this process, and print what it took."""
    from m3d_condense import Execution, condense, load

    found: dict[str, Any] = {"before": resident("VmRSS")}
    with watched(found, "load"):
        dataset = load(folder, size=side)
    with watched(found, "condense"):
        condense(dataset, ipc=1, iterations=steps, batch_real=64, execution=Execution(device="cpu"))
    with watched(found, "load again"):
        load(folder, size=side)
    print(json.dumps(found | {"bytes": dataset.train.images.nbytes, "images": len(dataset.train)}))


def main() -> None:
    """Measure as the command line says, print and store."""
    made = parser(__doc__, rounds=1, steps=5)
    made.add_argument("--gib", type=float, default=20.0, help="of decoded images")
    made.add_argument("--side", type=int, default=224, help="pixels")
    made.add_argument("--work", type=Path, default=None, help="folder with room for them; default: of the system")
    made.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    arguments = parse(made)
    if arguments.child is not None:
        child(arguments.child, arguments.side, arguments.steps)
        return
    count = math.ceil(arguments.gib * 2**30 / (3 * arguments.side**2))
    with tempfile.TemporaryDirectory(dir=arguments.work) as work:
        (Path(work) / "photographs").mkdir()
        photographs(Path(work) / "photographs", count, arguments.side)
        command = [sys.executable, "-m", "benchmarks.larger_than_memory", "--child", f"{work}/photographs"]
        command += ["--side", str(arguments.side), "--steps", str(arguments.steps)]
        done = subprocess.run(
            command, stdout=subprocess.PIPE, text=True, check=True, env=os.environ | {"M3D_CACHE": f"{work}/cache"}
        )
    found = json.loads(done.stdout.splitlines()[-1])
    print(f"{found['images']:,} images, {found['bytes'] / 2**30:.1f} GiB decoded; {found['before'] // MIB} MiB before")
    for name in ("load", "condense", "load again"):
        one = found[name]
        memory = f"{one['resident'] // MIB} MiB at most, {one['anonymous'] // MIB} MiB of them not of files"
        print(f"{name}: {duration(one['seconds'])}, {memory}")
    del arguments.child, arguments.work
    stored = record("larger_than_memory", arguments, found=found)
    write_file_atomic(arguments.out / "larger_than_memory-cpu.json", json.dumps(stored, indent=2).encode())


if __name__ == "__main__":
    main()
