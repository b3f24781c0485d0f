"""The plans of the chapters against the rules of the claims: what is planned must decide them."""

import pytest
from cells import cells

from vaenb.report import targets
from vaenb.report.selectors import chosen, parse

CHAPTERS = {
    "01_calibrated_decoders": "driver", "02_rate_regularization": "run",
    "03_information_trading": "run", "04_lagging_inference": "run",
    "05_dueling_decoders": "run"}  # the cell after the plan


def rows_of(space, name):
    """The settings of every model that an experiment would train."""
    if "cells_of" in space:
        model = space["PLAN"][name][1]
        return [dict(model=model) | row for row in space["cells_of"](name, 0)]
    rows = []
    for row in space["PLAN"][name][1]:
        betas = row.get("betas")
        rest = {k: v for k, v in row.items() if k != "betas"}
        rows += [rest | dict(beta=b) for b in betas] if betas else [rest]
    return rows


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_every_rule_finds_enough_models_in_the_plan(chapter):
    space = cells(chapter, until=CHAPTERS[chapter])
    planned = [dict(experiment=name, settings=row)
               for name in space["PLAN"] for row in rows_of(space, name)]
    seeds = space["SCALES"]["cpu"]["seeds"]
    for rule in targets.rules(chapter[3:].replace("_", "-")):
        sides = [rule["a"]]
        if "=" in rule["b"]:
            sides.append(rule["b"])
        for side in sides:
            found = chosen(planned, parse(side, rule["experiment"]))
            assert found, (rule["claim"], side)
            of_models = rule["test"] in ("correlates", "anticorrelates", "depends", "varies more")
            many = len(found) if of_models else seeds
            assert many >= int(rule["seeds"]), (rule["claim"], side, many)
