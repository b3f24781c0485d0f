"""What the drivers of the chapters share: which records to show, what is missing, what it costs."""

import numpy as np

from vaenb.report import records, tables, targets, verdicts


class Chapter:
    """One chapter under one profile; ``only`` names the one experiment to run, "" all.

    With "recorded" nothing is run, and the records of the book are what is shown.
    """

    def __init__(self, name: str, paper: str, profile: str, only: str = ""):
        self.name, self.paper, self.profile, self.only = name, paper, profile, only
        self.recorded = profile == "recorded"

    def read(self, experiment: str | None = None) -> list[dict]:
        """The records to show (experiment None: of all)."""
        if self.recorded:
            return records.read(self.name, experiment, where="book")
        return records.read(self.name, experiment, profile=self.profile, where="runs")

    def experiment(self, name: str, run, wanted: bool = True) -> list[dict]:
        """``run(name)`` where the profile asks for it; then the records to show."""
        if not self.recorded and wanted and self.only in ("", name):
            run(name)
        return self.read(name)

    def missing(self, experiment: str, entries: list[dict]) -> list[dict]:
        """Those of the records to be made that are neither in the book nor in ``runs``; all of
        them in the smoke test, which runs everything anew."""
        if self.profile == "smoke":
            return entries
        done = {records.identity(r) for r in records.read(self.name, experiment, where="both")}
        return [e for e in entries if records.identity(e) not in done]

    def budget(self, planned: dict[str, tuple[str, int]], steps: int) -> tables.Table:
        """A row an experiment: ``planned`` gives its data and models, the records their time."""
        shown = "cpu" if self.recorded else self.profile
        rows = []
        for name, (data, count) in planned.items():
            found = [r for r in self.read(name) if r["profile"] == shown and r["steps"] == steps]
            spent = [r["seconds"] for r in found if r["seconds"]]
            each = np.mean(spent) if spent else np.nan
            rows.append([(name, "", ""), (data, "", ""), *(
                (text, "", "theirs") for text in (
                    str(count), str(len(found)), tables.number(each),
                    tables.number(count * each / 3600)))])
        return tables.Table(
            ["experiment", "data", "models", "recorded", "seconds each", "hours in all"], rows,
            f"Profile {shown}, {steps} steps a model; times as recorded, one thread, with other "
            f"work on the machine.")

    def verdicts(self, *claims: str) -> tables.Table:
        """What the rules of book/targets/tests.csv make of the records; no claims: all."""
        return tables.verdicts(verdicts.verdicts(self.paper, self.read(), claims))

    def theirs_and_ours(self, table: str, dataset: str) -> tables.Table:
        """A printed table beside the records to show."""
        return tables.theirs_and_ours(self.paper, table, dataset, self.read())
