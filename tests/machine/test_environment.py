from __future__ import annotations

import json

from m3d_condense.machine.environment import describe_environment


def test_environment_says_what_and_not_where() -> None:
    versions, hardware = describe_environment()
    assert {"python", "m3d-condense", "torch", "numpy", "datasets", "safetensors"} == set(versions)
    assert hardware["cores"] >= 1
    assert hardware["cpu"]
    json.dumps([versions, hardware], allow_nan=False)
