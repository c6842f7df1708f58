"""Run every benchmark, each in a process of its own, then write the tables and the plot of docs/performance.md."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

NAMES = (
    "condense_step",
    "gradient_step",
    "methods",
    "scoring_epoch",
    "networks",
    "limit",
    "phases",
    "kernels",
    "allocator",
    "waiting",
    "scaling",
    "equivalence",
    "rounding",
)


def main() -> int:
    """Run the benchmarks that the command line names; return how the process ends."""
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("names", nargs="*", default=NAMES, metavar="NAME", help=f"of {', '.join(NAMES)}")
    made.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    made.add_argument("--rounds", type=int, help="turns of each side, in place of each benchmark's own number")
    arguments = made.parse_args()
    if unknown := set(arguments.names) - set(NAMES):
        made.error(f"unknown benchmark {', '.join(sorted(unknown))}: of {', '.join(NAMES)}")
    flags = ["--device", arguments.device]
    if arguments.rounds is not None:
        flags += ["--rounds", str(arguments.rounds)]
    failed = []
    for name in arguments.names:
        print(f"\n{name}", flush=True)
        start = time.monotonic()
        if subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *flags]).returncode:
            failed.append(name)
        print(f"{name}: {time.monotonic() - start:.0f} s", flush=True)
    plotted = subprocess.run([sys.executable, "-m", "benchmarks.plot"]).returncode
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed or plotted else 0


if __name__ == "__main__":
    sys.exit(main())
