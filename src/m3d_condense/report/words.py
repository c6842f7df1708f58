"""Numbers in words, and the verdict: what a reader who reads one sentence is to know."""

from __future__ import annotations

from m3d_condense.machine.memory import readable
from m3d_condense.report.yardsticks import share_of_the_way
from m3d_condense.tools.text import counted, duration, percent


def verdict(
    *,
    ipc: int,
    nbytes: int,
    whole_bytes: int | None,
    seconds: float | None,
    steps: int,
    random: float | None,
    condensed: float | None,
    whole: float | None,
) -> str:
    """Say in one or two sentences how good a set is, and at what price.

    Args:
        ipc: stored images a class.
        nbytes, whole_bytes: of the set's pixels, and of the whole training split's.
        seconds, steps: that making it took; None and 0 for a set by other code.
        random, condensed, whole: accuracies in percent; None where they are not known.
    """
    part = "" if whole_bytes is None else f", {percent(nbytes / whole_bytes)} of the data"
    if seconds is None:
        made = "made by other code"
    else:
        made = f"condensed in {duration(seconds)}" if steps else "selected, not condensed"
    size = f"{counted(ipc, 'image')} a class, {readable(nbytes)}{part}, {made}"
    if condensed is None:
        return f"{size}. How good it is has not been measured yet."
    known = f"{size}: a network trained on nothing else reaches {condensed:.1f} %"
    if random is None and whole is None:
        return f"{known}."
    beside = []
    if random is not None:
        beside.append(f"random images of the same number give {random:.1f} %")
    if whole is not None:
        beside.append(f"the whole data set gives {whole:.1f} %")
    sentence = f"{known}, where {' and '.join(beside)}."
    way = None if random is None or whole is None else share_of_the_way(random, condensed, whole)
    if way is None:
        return sentence
    if way < 0:
        return f"{sentence} That is worse than random images."
    if way > 1:
        return f"{sentence} That is more than all the data give under this protocol."
    return f"{sentence} That is {percent(way)} of the way from random selection to all the data."
