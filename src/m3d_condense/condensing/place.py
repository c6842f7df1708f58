"""Where a run is stored, and whether it has been made there already."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from m3d_condense.condensing import checkpoint
from m3d_condense.condensing.working import Working
from m3d_condense.machine.execution import ROUNDING
from m3d_condense.recipes.recipe import completed
from m3d_condense.sets.condensed import CondensedSet
from m3d_condense.sets.folder import SOFT_LABELS, is_condensed_set
from m3d_condense.tools.errors import Setting, UserError, another_out
from m3d_condense.tools.progress import notice


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a run is stored, and what may lie there.

    Attributes:
        target: the folder of the set; its checkpoint lies beside it.
        identity: the run's recipe, its data's fingerprint and class names, the code of a user's network, what it grows
            from, and the number of its groups of classes where there are several: what a checkpoint must agree with,
            JSON-able; the loop adds its arithmetic.
        execution: settings of the machine that were asked for, by name.
        overwrite: whether a set or a begun run of other settings gives way.
        of_group: whether it is one of several groups of classes, whose finished set is a part of a run that has begun.
    """

    target: Path
    identity: dict[str, Any]
    execution: dict[str, Any]
    overwrite: bool
    of_group: bool = False

    @property
    def working(self) -> Working:
        """The files of the run beside the target."""
        return Working.beside(self.target)

    def finished(self) -> CondensedSet | None:
        """Return the set at the target if it is of this very run, and that was completed.

        Raises:
            UserError: something else is there, and is not ours, or not to be overwritten, or the run was not completed
                and has nothing to go on from; nothing has been changed.
        """
        CondensedSet.check_target(self.target)
        saved = self.working.checkpoint
        if (self.overwrite and not self.of_group) or not is_condensed_set(self.target):
            return None
        found = CondensedSet.load(self.target)
        made_from = self._identity_of(found)
        if made_from != self.identity:
            if self.overwrite or self._begun():  # to overwrite what is there
                return None
            code = {"code": self.identity.get("code")}
            other = "code of its network" if made_from | code == self.identity | code else "settings or data"
            raise UserError(f"{self.target}: holds a condensed set of other {other}; {another_out()}")
        if saved.exists() or self._begun():
            return None
        again = f"{Setting('overwrite', True)} runs it again"
        if found.steps < self.identity["recipe"]["iterations"]:
            if self.overwrite:
                return None
            said = f"was stopped after {found.steps} of {self.identity['recipe']['iterations']} steps"
            raise UserError(f"{self.target}: {said}, and {saved.name} is not beside it to go on from; {again}")
        hint = "" if self.of_group else f"; {again}"
        notice(f"{self.target}: already condensed with these settings{self._otherwise(found)}{hint}")
        return found

    def check_beside(self) -> None:
        """Raise UserError where a file beside the target would be lost: one that is not ours, or of another run."""
        working = self.working
        strangers = [file for file in working.strangers() if self.overwrite or file != working.checkpoint]
        if strangers:
            raise UserError(f"{strangers[0]} is no file of ours and would be lost; move it elsewhere")
        if self.overwrite or self._begun():
            return
        if working.checkpoint.exists() and (self._groups > 1 or checkpoint.is_checkpoint(working.checkpoint)):
            raise UserError(f"{working.checkpoint}: {checkpoint.left_by()}")
        if working.group_counts():
            raise UserError(f"{working.groups}: {checkpoint.left_by()}")

    @property
    def _groups(self) -> int:
        """How many groups of classes there are."""
        return int(self.identity.get("class_groups", 1))

    def _begun(self) -> bool:
        """Whether this very run has left something to go on from; what is of its groups is told apart one by one."""
        if self._groups > 1:
            return self._groups in self.working.group_counts()
        return checkpoint.belongs(self.working.checkpoint, self.identity)

    def _identity_of(self, found: CondensedSet) -> dict[str, Any]:
        """Return what a set is made from, as this run's identity says it.

        Earlier versions stored no code of networks: it is taken to be the same.
        """
        settings = completed(found.settings)
        recipe = {name: settings.get(name) for name in self.identity["recipe"]}
        data = {"fingerprint": found.source.get("fingerprint"), "class_names": list(found.class_names)}
        made_from = {"recipe": recipe} | data
        if settings.get("class_groups") is not None:
            made_from["class_groups"] = settings["class_groups"]
        if "code" in self.identity:
            made_from["code"] = settings.get("code", self.identity["code"])
        grown_from = settings.get("start_from")
        if isinstance(grown_from, dict):
            made_from["start_from"] = {name: value for name, value in grown_from.items() if name != "set"}
        return made_from

    def _otherwise(self, found: CondensedSet) -> str:
        """Say how else a set was made than is asked for now, in what moves its pixels by rounding alone."""
        stored = {name: found.settings.get(name, value) for name, value in self.execution.items()}
        other = [str(Setting(name, stored[name])) for name in ROUNDING if stored[name] != self.execution[name]]
        return f", but {', '.join(other)}" if other else ""

    def store(self, condensed: CondensedSet, *, complete: bool) -> None:
        """Write the set; the checkpoint of a complete run has served."""
        labelled = is_condensed_set(self.target) and (self.target / SOFT_LABELS).is_file()
        condensed.save(self.target)
        if labelled and condensed.soft_labels is None:
            notice(f"{self.target}: its soft labels were of the earlier images; m3d label makes them for these")
        self.working.clear(everything=complete)
