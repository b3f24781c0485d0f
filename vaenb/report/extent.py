"""How large the runs behind records were: which were run alike, and which of them to believe."""

import math
import re

from vaenb.report.records import as_line


def is_full(record: dict) -> bool:
    """Whether it was run at the paper's scale: no ratio of its scale below one, data complete."""
    scale, complete = record["scale"], bool(record["data"].get("complete"))
    return complete and bool(scale) and all(ours >= theirs for ours, theirs in scale.values())


def groups(found: list[dict]) -> list[list[dict]]:
    """Records that were run alike (profile, scale, data), the group to believe first: at least
    half of the settings that any has, then at least three seeds, then the largest scale, then the
    most seeds, then the newest."""
    alike: dict[str, list[dict]] = {}
    for record in found:
        key = as_line([record["profile"], record["scale"], record["data"].get("sha256")])
        alike.setdefault(key, []).append(record)
    most = max((len(seeds_of(group)) for group in alike.values()), default=0)

    def rank(group):
        scale, seeds = group[0]["scale"], len({r["seed"] for r in group})
        share = math.prod(min(1.0, ours / theirs) for ours, theirs in scale.values() if theirs)
        return (2 * len(seeds_of(group)) >= most, is_full(group[0]) + (seeds >= 3) * 2, share,
                seeds, max(r["when"] for r in group))

    return sorted(alike.values(), key=rank, reverse=True)


def seeds_of(found: list[dict]) -> dict[str, set]:
    """The seeds of each setting of an experiment that records have."""
    seeds: dict[str, set] = {}
    for r in found:
        seeds.setdefault(as_line([r["experiment"], r["settings"]]), set()).add(r["seed"])
    return seeds


def with_all_seeds(found: list[dict]) -> int:
    """How many settings have as many seeds as any."""
    seeds = [len(s) for s in seeds_of(found).values()]
    return seeds.count(max(seeds))


def grid_cells(record: dict) -> int:
    """How many cells the square grid has that a record is one of; 0 where it is of none."""
    return record["scale"].get("grid", [0])[0] ** 2


def largest(found: list[dict]) -> list[dict]:
    """The group to believe first; of nothing nothing."""
    return groups(found)[0] if found else []


def features(record: dict) -> str:
    """The network whose features its Fréchet distances compare, as its notes tell it; "" where
    they tell none. Distances of different networks do not compare."""
    told = (re.search(r"(classifier of the (same )?data, last|Inception v3)[^;]*", n)
            for n in record.get("notes", ()))
    return next((t[0].replace("the same data", "the data") for t in told if t), "")


def seeds_text(*sets: list[dict]) -> str:
    """How many seeds the settings have: "3 seeds", or "1 to 3 seeds" where some have fewer."""
    counts = [len(seeds) for found in sets for seeds in seeds_of(found).values()]
    least, most = min(counts), max(counts)
    return f"{f'{least} to ' * (least != most)}{most} seed{'s' * (most != 1)}"


def scale_text(found: list[dict]) -> str:
    """How large records were run, in words: "cpu: 3000 of 5723 steps, width 8 of 32, 3 seeds"."""
    sentences = []
    for group in groups(found):
        words = []
        for name, (ours, theirs) in sorted(group[0]["scale"].items()):
            if name == "seeds":
                continue
            share = f"{ours:.9g}" if ours == theirs else f"{ours:.9g} of {theirs:.9g}"
            words.append(f"{share} {name}" if name.endswith("s") else f"{name} {share}")
        words.append(seeds_text(group))
        sentences.append(f"{group[0]['profile']}: {', '.join(words)}")
    return "; ".join(dict.fromkeys(sentences))
