"""The score of what a job made: the one that a condensed set holds already, or a new one, which is stored with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from m3d_condense.data.dataset import ImageDataset
from m3d_condense.machine.execution import Execution
from m3d_condense.recipes import protocols
from m3d_condense.scoring import evaluate, training_settings
from m3d_condense.sets.condensed import CondensedSet, Score
from m3d_condense.sets.soft import HARD
from m3d_condense.studies.job import Scoring
from m3d_condense.subjects import Subject, adapted, mirrored
from m3d_condense.tools.files import plain_json

__all__ = ["score_of"]


def score_of(
    subject: Subject,
    dataset: ImageDataset,
    scoring: Scoring,
    network: str,
    labels: str = HARD,
    *,
    folder: Path | None = None,
    execution: Execution | None = None,
    code: str = "",
) -> Score:
    """Return the score of a subject under one network: the one that a condensed set holds, or else a new one.

    Args:
        subject: a condensed set, which holds a new score from then on; or a data set, whose training split it is.
        dataset: where the test split comes from.
        scoring: how it is scored; its networks do not count.
        network: architecture, by name.
        labels: what the network is trained on, "hard" or "soft" labels.
        folder: that holds the set, where one does; a new score is stored there too.
        execution: device, precision, compilation.
        code: the digest of a user's network as it is now, "" of others; a score of other code is another one.
    """
    asked = scoring.settings() | {"labels": labels}
    if asked["flip"] is None:
        asked["flip"] = mirrored(subject, dataset)
    if isinstance(subject, ImageDataset):
        problem = dataset.problem(mirrored=asked["flip"])
        asked["epochs"] = protocols.protocol(asked["protocol"]).at_most_whole(problem, asked["epochs"])
        return evaluate(subject, dataset, network=network, execution=execution, **asked)
    held = _held(subject, network, asked, dataset.fingerprint, code)
    if held is not None:
        return held
    score = evaluate(subject, dataset, network=network, execution=execution, **asked)
    subject.add_score(score, folder)
    return score


def _held(condensed: CondensedSet, network: str, asked: Mapping[str, Any], fingerprint: str, code: str) -> Score | None:
    """Return the newest score that a set holds of a network, with these settings of `evaluate`, data and code.

    Scores with soft labels are of those that the set has: others go when these come.
    """
    protocol = adapted(asked["protocol"], condensed, asked["epochs"], asked["flip"])
    trained = plain_json("the protocol", training_settings(protocol))
    expected = dict(asked) | trained | {"n": asked["repeats"], "fingerprint": fingerprint}
    del expected["repeats"]
    for score in reversed(condensed.scores):
        found = score.settings | asdict(score) | {"labels": score.labels}
        if found.get("code", code) != code:
            continue
        if score.network == network and all(found.get(name) == value for name, value in expected.items()):
            return score
    return None
