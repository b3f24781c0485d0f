"""What the chapters' drivers share: which records to show, what is missing, what it costs."""

import numpy as np

import vaenb
from vaenb.errors import VaenbError
from vaenb.report import extent, records, tables, targets
from vaenb.report.selectors import parse
from vaenb.report.verdicts import verdicts


class Chapter:
    """One chapter under one profile; ``only`` names the one experiment to run ("": all),
    ``only_seed`` the one seed (-1: all).

    With "recorded" nothing is run, and the records of the book are what is shown. A profile that
    runs takes what the book has recorded of it as done and shows it beside what is made here,
    unless ``anew``; "smoke" always runs anew. Raises VaenbError for an unknown profile.
    """

    def __init__(self, name: str, paper: str, profile: str, only: str = "", only_seed: int = -1,
                 anew: bool = False):
        if profile not in vaenb.PROFILES:
            raise VaenbError(f"profile {profile!r} is unknown: take one of "
                             f"{', '.join(vaenb.PROFILES)}")
        self.name, self.paper, self.profile, self.only = name, paper, profile, only
        self.only_seed = only_seed
        self.recorded = profile == "recorded"
        self.where = "book" if self.recorded else (
            "runs" if anew or profile == "smoke" else "both")

    def read(self, experiment: str | None = None) -> list[dict]:
        """The records to show (experiment None: of all)."""
        profile = None if self.recorded else self.profile
        return records.read(self.name, experiment, profile=profile, where=self.where)

    def experiment(self, name: str, run, wanted: bool = True) -> list[dict]:
        """``run(name)`` where the profile asks for it; then the records to show. Says how many of
        them are the book's."""
        if not self.recorded and wanted and self.only in ("", name):
            run(name)
        found = self.read(name)
        if self.where == "both":
            book = {(records.identity(r), r["when"]) for r in records.read(self.name, name)}
            kept = sum((records.identity(r), r["when"]) in book for r in found)
            if kept:
                print(f"{name}: {kept} of {len(found)} models are recorded in the book and not "
                      f"trained here (-p anew true trains them)")
        return found

    def seeds(self, count: int):
        """The seeds to run of ``count``: all, or the one that was asked for."""
        return range(count) if self.only_seed < 0 else [self.only_seed]

    def missing(self, experiment: str, entries: list[dict]) -> list[dict]:
        """Those of the records to be made that there are none of yet; all of them in the smoke
        test."""
        if self.profile == "smoke":
            return entries
        done = {records.identity(r) for r in self.read(experiment)}
        return [e for e in entries if records.identity(e) not in done]

    def budget(self, planned: dict[str, tuple[str, int]], steps: int) -> tables.Table:
        """A row an experiment: ``planned`` gives its data, one of whose words names the set that a
        rule may speak of, and its number of models; the records of runs of ``steps`` steps (0: of
        any length) give their time. Raises VaenbError where the one experiment that is asked for
        is not planned."""
        if self.only and self.only not in planned:
            raise VaenbError(f"only={self.only!r} is no experiment of this chapter: take one of "
                             f"{', '.join(planned)}")
        shown = "cpu" if self.recorded else self.profile
        rows, devices, bracketed = [], set(), False
        for name, (data, count) in planned.items():
            found = [r for r in self.read(name) if r["profile"] == shown
                     and steps in (0, r["steps"])]
            spent = [r["seconds"] + (r.get("measure_seconds") or 0) for r in found
                     if r["seconds"]]
            devices |= {r["device"] for r in found}
            each = np.mean(spent) if spent else np.nan
            asked = [rule for rule in targets.rules(self.paper) if any(
                name in parse(rule[side], rule["experiment"])["experiments"]
                for side in "ab" if "=" in rule[side] or side == "a")
                or rule["stand_in"] in [f"{name} {word}" for word in data.split()]]
            claims = sorted({rule["claim"] for rule in asked
                             if rule["data"] in ("", *data.split())})
            other = {f"({rule['claim']}: {rule['data']})" for rule in asked
                     if rule["claim"] not in claims}
            bracketed |= bool(other)
            rows.append([name, data, *((text, "", "theirs") for text in (
                str(count), str(len(found)), tables.number(each),
                tables.number(count * each / 3600))), " ".join([*claims, *sorted(other)])])
        steps = f", {steps} steps a model" if steps else ""
        where = f", on {' and '.join(sorted(devices))}" if devices else ""
        return tables.Table(
            ["experiment", "data", "models", "recorded", "seconds each", "hours in all",
             "for the claims"], rows,
            f"Profile {shown}{steps}; times as recorded, training and measuring{where}."
            + " In brackets: claims about another set, for which these runs stand in and which "
            "they do not decide." * bracketed)

    def finish(self, fig, *sets: list[dict]) -> None:
        """Show a figure; in it whether its runs are reduced, under it in full how much was run on
        which data. The records of several experiments are told apart, those of one told once."""
        import matplotlib.pyplot as plt
        from IPython.display import display

        short, lines = {}, {}
        for group in filter(None, map(extent.largest, sets)):
            reduced = ", reduced" * (not all(map(extent.is_full, group)))
            short.setdefault(group[0]["profile"] + reduced, []).append(group)
            names = sorted({r["data"]["name"] for r in group})
            notes = sorted({r["data"].get("note") or "" for r in group} - {""})
            told = "; ".join([extent.scale_text(group), *notes])
            lines[f"{' and '.join(names)}: {told}"] = None
        told = "; ".join(f"{how}, {extent.seeds_text(*groups)}" for how, groups in short.items())
        fig.supxlabel(f"ours: {told or 'not run in this profile'}", fontsize="small", color="0.35")
        plt.show()
        if lines:
            display(tables.Note(list(lines)))

    def verdicts(self, *claims: str) -> tables.Table:
        """What the rules of book/targets/tests.csv make of the records; no claims: all."""
        return tables.verdicts(verdicts(self.paper, self.read(), claims), brief=bool(claims))

    def theirs_and_ours(self, table: str, dataset: str) -> tables.Table:
        """A printed table beside the records to show."""
        return tables.theirs_and_ours(self.paper, table, dataset, self.read())
