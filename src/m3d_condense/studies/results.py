"""What came out of a study: its jobs, what is known of them, and the table of both, as objects and as files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from m3d_condense.studies import table
from m3d_condense.studies.job import Job
from m3d_condense.studies.ledger import Ledger
from m3d_condense.studies.record import Record
from m3d_condense.studies.writing import markdown
from m3d_condense.tools import files
from m3d_condense.tools.text import counted

__all__ = ["Results"]


@dataclass(frozen=True, kw_only=True)
class Results:
    """What is known of the jobs that were asked for.

    Attributes:
        jobs: in the order asked for.
        records: what is known of each job.
        settings: what all the jobs share.
        sort: the order of the rows, a key of `ORDERS`.
    """

    jobs: Sequence[Job]
    records: Sequence[Record]
    settings: dict[str, Any]
    sort: str

    def __repr__(self) -> str:
        done = sum(not record.missing(job.scorers) for job, record in zip(self.jobs, self.records, strict=True))
        return f"Results({counted(len(self.jobs), 'job')}, {done} done, {self.failed} failed)"

    @classmethod
    def of(cls, ledger: Ledger, jobs: Sequence[Job], sort: str = "accuracy") -> Results:
        """Return what a ledger knows of these jobs now."""
        records = [ledger.record(job) for job in jobs]
        return cls(jobs=jobs, records=records, settings=ledger.settings, sort=sort)

    @property
    def failed(self) -> int:
        """How many of the sets could not be made or scored."""
        pairs = zip(self.jobs, self.records, strict=True)
        return sum(bool(record.failed(job.scorers)) for job, record in pairs)

    @property
    def rows(self) -> list[table.Row]:
        """The table, in order: numbers."""
        return table.make_rows(zip(self.jobs, self.records, strict=True), self.sort)

    def table(self) -> list[dict[str, str]]:
        """Return the table as text by column, see `to_text`."""
        return table.to_text(self.rows)

    def notes(self) -> list[str]:
        """Say what the table's figures are, and what went wrong."""
        return table.notes(self.jobs, self.rows, self.settings.get("scored_on", ""))

    def save(self, folder: Path, name: str) -> None:
        """Write NAME.json, NAME.csv and NAME.md, each complete or as it was."""
        rows, ran_on = self.rows, table.environments(self.records)
        content = {"settings": self.settings, "environments": ran_on, "rows": [asdict(row) for row in rows]}
        remarks = [*self.notes(), *table.described(ran_on)]
        files.write_file_atomic(folder / f"{name}.json", json.dumps(content, indent=1) + "\n")
        files.write_file_atomic(folder / f"{name}.csv", table.to_csv(rows))
        text = markdown(self.table()) + "".join(f"\n{remark}\n" for remark in remarks)
        files.write_file_atomic(folder / f"{name}.md", text)
