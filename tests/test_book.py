"""The built book without a browser: its pages, links and figures; and what the clone holds."""

import re
import subprocess
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import vaenb
from vaenb.report import targets

HTML = vaenb.ROOT / "_build" / "html"
built = pytest.mark.skipif(not HTML.is_dir(), reason="the book is not built: make book")
PAGES = [line.split(":")[1].strip() for line in (vaenb.ROOT / "_toc.yml").read_text().splitlines()
         if re.match(r"(\s*- file|root):", line)]


class Page(HTMLParser):
    """What the checks need of a page: its title, sections, ids and links (tag, rel, address)."""

    def __init__(self, path: Path):
        super().__init__()
        self.title, self.sections, self.ids, self.links, self.inside = "", 0, set(), [], ""
        self.charts: list[str] = []  # how those of the notebooks are read out
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag, attributes):
        given, self.inside = dict(attributes), tag
        self.ids |= {given[key] for key in ("id", "name") if given.get(key)}
        self.sections += tag == "h2"
        if tag == "img" and "_images/" in given.get("src", ""):
            self.charts.append(given.get("alt", ""))
        for key in ("href", "src"):
            if given.get(key):
                self.links.append((tag, given.get("rel", ""), given[key]))

    def handle_data(self, text):
        if self.inside == "title":
            self.title += text.strip()

    def handle_endtag(self, _):
        self.inside = ""


@cache
def page(name: str) -> Page:
    return Page(HTML / name)


def every() -> list[str]:
    return [p.relative_to(HTML).as_posix() for p in sorted(HTML.rglob("*.html"))
            if "_static" not in p.parts]


@built
def test_every_page_of_the_contents_is_built_with_a_title_and_sections():
    for name in PAGES:
        assert page(f"{name}.html").title, name
        assert page(f"{name}.html").sections, name  # without one the theme's script fails
    assert f"{PAGES[0]}.html" in (HTML / "index.html").read_text("utf-8")


@built
def test_no_page_shows_a_failure_or_a_machine_path():
    # a figure that fails while it is drawn shows a traceback, and the build goes on all the same
    for name in every():
        text = (HTML / name).read_text("utf-8")
        assert not re.search(r'class="output (traceback|stderr|error)', text), name
        assert f"{vaenb.ROOT}/" not in text, name


@built
def test_nothing_that_a_page_loads_comes_from_another_host():
    foreign = [(name, tag, link) for name in every() for tag, rel, link in page(name).links
               if urlsplit(link).netloc and (tag != "a") and "canonical" not in rel]
    assert foreign == []
    styles = [p for p in HTML.rglob("*.css") if re.search(
        r"(@import|url\()\s*[\"']?(https?:)?//", p.read_text("utf-8", "replace"))]
    assert styles == []


@built
def test_every_link_within_the_book_leads_somewhere():
    lost = []
    for name in every():
        for _tag, _rel, link in page(name).links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            file = (HTML / name).parent / unquote(parts.path) if parts.path else HTML / name
            file = file / "index.html" if file.is_dir() else file
            if not file.is_file():
                lost.append((name, link))
            elif parts.fragment and file.suffix == ".html":
                target = page(file.resolve().relative_to(HTML.resolve()).as_posix())
                if unquote(parts.fragment) not in target.ids:
                    lost.append((name, link))
    assert lost == []


@built
def test_chapters_have_figures_with_names():
    chapters = [name for name in PAGES if name.startswith("notebooks/")]
    assert chapters
    for name in chapters:
        charts = page(f"{name}.html").charts
        assert charts and all(re.fullmatch(r"Chart: \S.*", alt) for alt in charts), name


@built
def test_the_scoreboard_lists_every_claim_and_every_number():
    text = (HTML / "book" / "scoreboard.html").read_text("utf-8")
    for claim in targets.claims():
        assert f'<th scope="row">{claim["id"]}</th>' in text
    assert text.count('class="number theirs"') == len(targets.cells())


def test_no_tracked_file_names_a_machine_path():
    try:
        listed = subprocess.run(
            ["git", "-C", vaenb.ROOT, "ls-files", "-z", "--cached", "--others",
             "--exclude-standard"], capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this is not a git clone")
    here = re.compile("|".join([r"/(home|root|Users)/\w", re.escape(f"{vaenb.ROOT}/")]).encode())
    named = [name for name in listed.decode().split("\0")
             if name and (vaenb.ROOT / name).is_file() and here.search(
                 (vaenb.ROOT / name).read_bytes())]
    assert named == []
