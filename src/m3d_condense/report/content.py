"""What the page's template shows of a set: the facts as texts, charts, bars and places in the sheet."""

from __future__ import annotations

import json
import math
import statistics

from m3d_condense.machine.memory import readable
from m3d_condense.report import charts
from m3d_condense.report.confusion import class_accuracies, worst
from m3d_condense.report.facts import Facts
from m3d_condense.report.galleries import closer_than_usual, gallery, pairs
from m3d_condense.report.intervals import interval
from m3d_condense.report.records import Audit, Bar, ClassBars, Content, MistakenRow, Moments, ScoreRow, Way
from m3d_condense.report.sheet import Sheet
from m3d_condense.report.trials import Trials
from m3d_condense.report.words import verdict
from m3d_condense.report.yardsticks import share_of_the_way, yardsticks
from m3d_condense.sets.bits import in_bits
from m3d_condense.sets.condensed import CondensedSet
from m3d_condense.sets.stored import scored_by
from m3d_condense.sets.text import escaped_json, one_line
from m3d_condense.tools.text import counted, duration, spread

WORST, MISTAKES = 5, 3  # classes whose confusion is shown, and the classes they are taken for
LOG_FROM = 20  # the greatest loss over the least, from which the axis is logarithmic
DRAWN = 1e30  # a greater loss is no honest one, and no chart reaches from it to another
NO_COURSE = "The course of the run: fewer than two of its losses are known."
MOST_CLASSES = 40  # whose accuracies are shown


def content(facts: Facts, number: int, sheet: Sheet, most_bytes: int) -> Content:
    """Turn the facts of the set of this number on the page into what is shown, its images put into the sheet."""
    condensed = facts.condensed
    random, own, whole = accuracies(facts)
    courses = _courses(facts)
    return Content(
        anchor=f"set{number}",
        name=facts.name,
        verdict=verdict(
            ipc=condensed.ipc,
            nbytes=condensed.nbytes,
            whole_bytes=facts.dataset.train.images.nbytes if facts.dataset is not None else None,
            seconds=condensed.made_in,
            steps=condensed.steps,
            random=random,
            condensed=own,
            whole=whole,
        ),
        way=_way(random, own, whole),
        tiles=_tiles(facts),
        gallery=gallery(facts, sheet, most_bytes),
        steps=condensed.steps,
        courses=courses,
        course_note=_course_note(facts),
        classes=_classes(facts),
        mistaken=_mistaken(facts),
        views=_views(facts),
        class_names=[one_line(name) for name in condensed.class_names[: charts.CLASS_COLOURS]],
        moments=_moments(facts),
        moments_note=_moments_note(facts),
        audit=_audit(facts, sheet),
        scores=_scores(condensed),
        trained=_trained(facts),
        yardsticks=yardsticks(random, own, whole),
        command=facts.command,
        settings=_settings(condensed),
        left_out=facts.left_out if courses or condensed.steps == 0 else [*facts.left_out, NO_COURSE],
    )


def accuracies(facts: Facts) -> tuple[float | None, float | None, float | None]:
    """Return the mean accuracies, percent, of random selection, of the set and of the whole data set."""
    own = facts.accuracy
    random, whole = (None if one is None else one.summary[0] for one in (facts.random, facts.whole))
    return random, None if own is None else own[0], whole


def _way(random: float | None, own: float | None, whole: float | None) -> Way | None:
    if random is None or own is None or whole is None:
        return None
    gone = share_of_the_way(random, own, whole)
    return None if gone is None else Way(random=random, condensed=own, whole=whole, share=min(1.0, max(0.0, gone)))


def _tiles(facts: Facts) -> list[tuple[str, str]]:
    """Return the numbers that stand beside the verdict, each with what it is."""
    condensed = facts.condensed
    count, factor = len(condensed.images), condensed.factor
    height, width = condensed.images.shape[2:]
    decoded = f", which hold {count * factor**2:,}" if factor > 1 else ""
    found = [
        (one_line(condensed.maker), "method"),
        (f"{count:,}", f"images of {width}×{height}{in_bits(condensed.bits)}{decoded}"),
        (readable(condensed.nbytes), "of pixels"),
    ]
    if condensed.made_in is not None:
        found.append((duration(condensed.made_in), f"{condensed.steps:,} steps" if condensed.steps else "of selecting"))
    if facts.accuracy is not None:
        mean, std, n = facts.accuracy
        trained = f"test accuracy, {facts.setup.network}, {facts.setup.protocol}, n = {n}"
        found.insert(0, (f"{mean:.1f}{spread(std, n)} %", trained))
    return found


def _courses(facts: Facts) -> list[str]:
    """Draw loss and watched accuracy against the steps, as far as they are known."""
    history = [entry for entry in facts.condensed.history if "step" in entry]
    losses, watched = (
        [(entry["step"], entry[name]) for entry in history if abs(entry.get(name, math.nan)) <= DRAWN]
        for name in ("loss", "accuracy")
    )
    drawn = []
    if len(losses) > 1:
        least, most = (end(loss for _, loss in losses) for end in (min, max))
        log = least > 0 and most / least > LOG_FROM
        drawn.append(charts.course(losses, title=f"Loss against steps, {facts.name}", label="loss", log=log))
    if len(watched) > 1:
        random, _, whole = accuracies(facts)
        lines = [
            charts.Line(value=value, label=label, colour=colour)
            for value, label, colour in ((random, "random", "random"), (whole, "all data", "whole"))
            if value is not None
        ]
        title = f"Test accuracy against steps, {facts.name}"
        drawn.append(charts.course(watched, title=title, label="test accuracy, %", lines=lines))
    return drawn


def _course_note(facts: Facts) -> str:
    watched = any("accuracy" in entry for entry in facts.condensed.history)
    if not watched:
        return ""
    setup = facts.setup
    note = "The accuracy is that of a small network, trained briefly and tested on the test split. It decided nothing."
    lines = f" The lines across are of {setup.network} under the protocol {setup.protocol}."
    return note if facts.random is None else note + lines


def _classes(facts: Facts) -> list[ClassBars]:
    """Return the accuracies of the classes, the lowest first where not all are shown."""
    known = [(kind, text, trials) for kind, text, trials in _trained_on(facts) if trials is not None]
    if facts.own is None:
        return []
    columns = [(kind, text, class_accuracies(trials.confusion)) for kind, text, trials in known]
    own = class_accuracies(facts.own.confusion)
    order = [number for number, value in enumerate(own) if value is not None]
    if len(order) > MOST_CLASSES:
        order = sorted(order, key=lambda number: own[number] or 0.0)[:MOST_CLASSES]
    found = []
    for number in order:
        values = [(kind, text, column[number] or 0.0) for kind, text, column in columns]
        bars = [Bar(label=text, share=value / 100, text=f"{value:.0f} %", kind=kind) for kind, text, value in values]
        found.append(ClassBars(name=one_line(facts.condensed.class_names[number]), bars=bars))
    return found


def _trained_on(facts: Facts) -> list[tuple[str, str, Trials | None]]:
    """Return what networks were trained on: the colour, the words, and the networks."""
    return [
        ("accent", "this set", facts.own),
        ("random", "random images", facts.random),
        ("whole", "all data", facts.whole),
    ]


def _mistaken(facts: Facts) -> list[MistakenRow]:
    if facts.own is None:
        return []
    names = [one_line(name) for name in facts.condensed.class_names]
    return [
        MistakenRow(
            name=names[one.number],
            accuracy=f"{one.accuracy:.0f} %",
            taken_for=", ".join(f"{names[k]} ({share:.0f} %)" for k, share in one.taken_for) or "nothing else",
        )
        for one in worst(facts.own.confusion, WORST, MISTAKES)
    ]


def _views(facts: Facts) -> list[tuple[str, str]]:
    """Draw the features under each encoder; each with a caption."""
    drawn = []
    for view in facts.views:
        title = f"Features under {view.encoder}, {facts.name}"
        held = f"{100 * view.projection.explained:.0f} % of the variance of the real features"
        drawn.append((charts.features(view, title), f"Under {view.encoder}; the two components hold {held}."))
    return drawn


def _moments(facts: Facts) -> list[Moments]:
    if facts.moments is None or facts.random_moments is None:
        return []
    found = []
    for order in ("mean",) if _one_each(facts.condensed) else ("mean", "variance", "skewness"):
        own, random = getattr(facts.moments, order), getattr(facts.random_moments, order)
        longest = max(own, random) or 1.0
        bars = [
            Bar(label="this set", share=own / longest, text=f"{own:.3g}"),
            Bar(label="random images", share=random / longest, text=f"{random:.3g}", kind="random"),
        ]
        found.append(Moments(order=order, bars=bars))
    return found


def _moments_note(facts: Facts) -> str:
    if facts.moments is None:
        return ""
    note = f"Averaged over {facts.moments.n} random networks ({facts.moments.network}) and over the classes."
    return f"{note} One image a class has a mean alone." if _one_each(facts.condensed) else note


def _one_each(condensed: CondensedSet) -> bool:
    """Whether each class has a single image, of which there is no variance."""
    return len(condensed.images) * condensed.factor**2 == condensed.num_classes


def _audit(facts: Facts, sheet: Sheet) -> Audit | None:
    found = facts.nearest
    if found is None:
        return None
    count, near = len(found.distance), closer_than_usual(found.distance, found.usual)
    text = (
        "Distances are root mean squares of the differences of pixels, in levels of 0 to 255: from "
        f"{float(found.distance.min()):.1f} to {float(found.distance.max()):.1f}, median "
        f"{statistics.median(found.distance.tolist()):.1f}."
    )
    if found.usual is not None:
        text += (
            f" Real images of a class are usually {found.usual:.1f} from the nearest other one; {near} of {count} "
            "synthetic images are closer than that to a real one."
        )
    return Audit(pairs=pairs(facts, sheet), text=text)


def _scores(condensed: CondensedSet) -> list[ScoreRow]:
    rows = []
    for score in condensed.scores:
        ends = interval(score.mean, score.std, score.n)
        low, high = ends or (score.mean, score.mean)
        rows.append(
            ScoreRow(
                network=one_line(score.network),
                protocol=one_line(scored_by(condensed, score)),
                n=score.n,
                accuracy=score.rounded(1),
                interval=f"{low:.1f} to {high:.1f}" if ends else "one network has none",
                low=low / 100,
                high=high / 100,
                mean=score.mean / 100,
            )
        )
    return rows


def _trained(facts: Facts) -> str:
    """Say how the report's own networks were trained, and how many."""
    counts = [f"{len(trials.accuracies)} on {text}" for _, text, trials in _trained_on(facts) if trials is not None]
    if not counts:
        return ""
    setup = facts.setup
    epochs = f", {counted(setup.epochs, 'epoch')}" if setup.epochs is not None else ""
    return f"Networks trained for this page: {setup.network}, protocol {setup.protocol}{epochs}; {', '.join(counts)}."


def _settings(condensed: CondensedSet) -> str:
    names = ("settings", "source", "versions", "hardware", "created", "seed")
    stored = {name: getattr(condensed, name) for name in names}
    return escaped_json(json.dumps(stored, indent=2, ensure_ascii=False))
