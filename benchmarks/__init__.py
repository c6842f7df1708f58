"""Speed and memory, measured: each module compares two sides in turns and stores every raw time.

``python -m benchmarks.run`` runs them all; ``python -m benchmarks.plot`` writes docs/performance.md from the results.
"""
