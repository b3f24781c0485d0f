"""What the book adds to Sphinx: the scoreboard, verdicts, and MathJax without a server."""

from collections import Counter
from functools import cache
from html import escape
from importlib.metadata import distribution
from math import nan

from docutils import nodes
from sphinx.util.docutils import SphinxDirective
from sphinx.util.fileutil import copy_asset

STATES = ("reproduced", "not reproduced", "supported", "contradicted", "undecided", "not run",
          "setup")


@cache
def board() -> dict:
    """The scoreboard, computed once a build from the tracked records."""
    from vaenb.report import scoreboard

    return scoreboard()


def verdict(state: str, leans: str = "") -> str:
    """The cell of a verdict."""
    from vaenb.report import tables

    return f'<td class="verdict">{escape(tables.state(state, leans))}</td>'


def because(why: str, scale: str, kind: str = "") -> str:
    """The cell that says why (HTML), and at what scale our runs were."""
    scale = f'<br><span class="where">{escape(scale)}</span>' if scale else ""
    return f'<td class="{kind}">{why}{scale}</td>'


def table(head: str, rows: list[str], caption: str) -> str:
    """A table that scrolls in itself where the page is narrow."""
    columns = "".join(f'<th scope="col">{name}</th>' for name in head.split("|"))
    body = "".join(f"<tr>{row}</tr>\n" for row in rows)
    return (f'<div class="vae-scroll" role="region" tabindex="0" aria-label="{escape(caption)}">'
            f'<table class="dataframe vae-table"><thead><tr>{columns}</tr></thead>\n'
            f"<tbody>{body}</tbody></table></div>\n")


def tally(states: dict) -> str:
    """Counts in words: "2 supported, 16 not run"."""
    return ", ".join(f"{states[s]} {s}" for s in STATES if states.get(s))


def brief() -> str:
    """One row a paper: how many of its claims and numbers are in which state, and on which side
    the means of the undecided claims lie."""
    rows = []
    for paper, kinds in board()["counts"].items():
        leans = [c["leans"] for c in board()["claims"] if c["paper"] == paper]
        sides = [f"{said} in {leans.count(said)}" for said in sorted(set(leans) - {""})]
        told = [f"{sum(kinds[k].values())}: {tally(kinds[k])}" for k in ("claims", "numbers")]
        told.insert(1, "; ".join(sides) or "–")
        name = escape(paper.replace("-", " ").capitalize())
        rows.append(f'<th scope="row"><a href="scoreboard.html#{escape(paper)}">{name}</a></th>'
                    + "".join(f"<td>{text}</td>" for text in told))
    return table("Paper|Claims|Of the undecided|Numbers", rows, "Verdicts by paper")


def claims(paper: str) -> str:
    """One row a claim: what is said and where, what our runs say of it, and why, by tests."""
    from vaenb.report.tables import items, why

    rows = [f'<th scope="row">{c["id"]}</th><td>{escape(c["claim"])} '
            f'<span class="where">({escape(c["where"])})</span></td>'
            + verdict(c["state"], c["leans"])
            + because(items(escape(why(c))), c["scale"], "tests")
            for c in board()["claims"] if c["paper"] == paper]
    return table("|The paper says|Verdict|Because", rows, f"Claims of {paper}")


def minus(text: str) -> str:
    return "−" + text[1:] if text.startswith("-") else text


def numbers(paper: str) -> str:
    """The printed numbers, theirs beside ours, folded by the paper's tables."""
    from vaenb.report.board import UNMEASURED
    from vaenb.report.tables import number

    places: dict[str, list] = {}
    for n in board()["numbers"]:
        if n["paper"] == paper:
            text = n["table"].startswith("text")
            places.setdefault("In the text and captions" if text else n["table"], []).append(n)
    out = []
    for place, cells in places.items():
        rows = []
        for n in cells:
            unit = f" ({n['unit']})" if n["unit"] not in ("", n["metric"]) else ""
            model = n["model"].removesuffix(" (Ours)")  # the paper's ours, not the column's
            told = [n["dataset"], model, n["setting"], n["metric"] + unit]
            theirs = n["bound"] + minus(n["theirs"])
            ours = minus(number(*(nan if n[k] is None else n[k] for k in ("ours", "spread"))))
            rows.append("".join(f"<td>{escape(text)}</td>" for text in told)
                        + f'<td class="number theirs">{escape(theirs) or "–"}</td>'
                        + f'<td class="number ours">{ours}</td>'
                        + verdict(n["state"])
                        + ("<td></td>" if n["state"] in UNMEASURED
                           else because(escape(n["reason"]), n["scale"])))
        said = tally(Counter(n["state"] for n in cells))
        out.append(f"<details><summary>{escape(place)}: {len(cells)} numbers, {said}</summary>\n"
                   + table("Data|Model|Setting|Quantity|Theirs|Ours|Verdict|Because", rows, place)
                   + "</details>\n")
    return "".join(out)


class Scoreboard(SphinxDirective):
    """``{scoreboard}``: the counts of all papers; ``{scoreboard} PAPER``: its claims, numbers."""

    optional_arguments = 1

    def run(self) -> list[nodes.Node]:
        self.env.note_reread()
        papers = board()["counts"]
        if not self.arguments:
            return [nodes.raw("", brief(), format="html")]
        paper = self.arguments[0]
        if paper not in papers:
            raise self.error(f"no paper {paper!r}: it is one of {', '.join(papers)}")
        return [nodes.raw("", claims(paper) + numbers(paper), format="html")]


def verdict_role(name, source, text, line, inliner, options=None, content=None):
    """``{verdict}`L01` ``: the claim and its verdict as this build computes it."""
    states = {c["id"]: c["state"] for c in board()["claims"]}
    if text not in states:
        said = inliner.reporter.error(f"no claim {text!r} in book/targets/claims.csv", line=line)
        return [inliner.problematic(source, source, said)], [said]
    return [nodes.Text(f"{text}, {states[text]}")], []


def copy_mathjax(app, exception) -> None:
    """Put MathJax's one script and its fonts beside the pages."""
    if exception or app.builder.format != "html":
        return
    found = distribution("sphinx-mathjax-offline").locate_file("sphinx-mathjax-offline/static")
    for item in ("mathjax/tex-chtml-full.js", "mathjax/output/chtml/fonts/woff-v2"):
        parent = item.rpartition("/")[0] if item.endswith(".js") else item
        copy_asset(str(found / item), str(app.outdir / "_static" / parent))


def name_charts(app, doctree, docname) -> None:
    """Let a chart be read out as what its section is about, and not as a file's name."""
    for image in doctree.findall(nodes.image):
        section = image.parent
        while section is not None and not isinstance(section, nodes.section):
            section = section.parent
        if section is not None and not image.get("alt"):
            image["alt"] = f"Chart: {section.next_node(nodes.title).astext()}"


def setup(app) -> dict:
    app.add_directive("scoreboard", Scoreboard)
    app.add_role("verdict", verdict_role)
    app.connect("doctree-resolved", name_charts)
    app.connect("build-finished", copy_mathjax)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
