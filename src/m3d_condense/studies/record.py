"""What is known of a job, in memory and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import msgspec

from m3d_condense.moments import MomentDistances
from m3d_condense.sets.condensed import Score
from m3d_condense.tools.errors import UserError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = ["MOMENTS", "Fitted", "Record", "as_json", "read"]

MOMENTS = "moments"  # what an error of their distances stands under, beside those of the networks
Stored = TypeVar("Stored")


@dataclass(kw_only=True)
class Record:
    """What is known of a job so far; what is not known, or has no meaning for the whole training split, is None.

    Attributes:
        job: its `Job.identity`.
        fingerprint: of the data set that the scores are of.
        scores, errors: by network: its score, or what went wrong the last time; errors of the moments too.
        moments: distances of the features' moments from the training set's, where the job has them measured.
        seconds: that condensing took.
        peak_bytes, peak_of: memory at its peak, and of what it is, see `peak_memory`.
        size_bytes: of the stored pixels.
        label_bytes: of the soft labels, where it has any.
        classes: how many it has.
        iterations: of the loop that condenses.
        settings: of the recipe as it was run.
        code: of the set's network, where that is a user's, see `networks.code_named`.
        versions, hardware: what the job last ran on, see `describe_environment`.
        format_version: of the JSON.
    """

    job: dict[str, Any]
    fingerprint: str = ""
    scores: dict[str, Score] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    moments: MomentDistances | None = None
    seconds: float | None = None
    peak_bytes: int | None = None
    peak_of: str = ""
    size_bytes: int | None = None
    label_bytes: int | None = None
    classes: int | None = None
    iterations: int | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    code: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    hardware: dict[str, Any] = field(default_factory=dict)
    format_version: Literal[1] = 1

    def missing(self, networks: Sequence[str]) -> list[str]:
        """Return those of the networks that have not scored the set."""
        return [network for network in networks if network not in self.scores]

    def failed(self, networks: Sequence[str]) -> list[str]:
        """Return those of the networks for which something went wrong."""
        return [network for network in networks if network in self.errors]


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """What a trial found.

    Attributes:
        iterations: that fit in the time limit.
        compiled: whether the networks were compiled.
        encoder_steps, encoder_count: of the pool, where there is one; None in what an earlier version found.
    """

    iterations: int
    compiled: bool
    encoder_steps: int | None = None
    encoder_count: int | None = None
    format_version: Literal[1] = 1

    def settings(self) -> dict[str, Any]:
        """Return the settings of a recipe that were found."""
        found = {name: getattr(self, name) for name in ("iterations", "encoder_steps", "encoder_count")}
        return {name: value for name, value in found.items() if value is not None}


def as_json(content: DataclassInstance) -> str:
    """Return a dataclass as the text of a JSON file, from which `read` makes it again."""
    return json.dumps(asdict(content), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def read(file: Path, kind: type[Stored], remedy: str) -> Stored:
    """Read a JSON file as a dataclass, every value of the type that the class says.

    Raises:
        UserError: the file is unreadable, no JSON, or lacks or mistypes a value; the message ends with `remedy`.
    """
    try:
        return msgspec.json.decode(file.read_bytes(), type=kind)
    except (OSError, ValueError) as error:
        raise UserError(f"{file} is damaged, or of another version of m3d ({error}); {remedy}") from None
