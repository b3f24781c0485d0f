"""Pictures in rows, one page of them at a time: what several decoders make of one digit, say."""

import hashlib
import html

from vaenb.errors import VaenbError
from vaenb.report.explorer import Explorer, _image
from vaenb.report.tables import Table


def picture_pages(pages: dict[str, dict[str, list[tuple[str, bytes]]]], what: str,
                  title: str = "", note: str = "") -> Explorer:
    """Rows of captioned pictures, of which a reader picks one page with a click or the arrow keys.

    ``pages`` gives each page (named by a short text, such as a digit) its rows, and each row
    (name) its pictures from left to right, as (caption, PNG file as bytes); a caption's lines are
    separated by "\\n". ``what`` says what a page is ("digit"). No script is needed; where styles
    are missing too, all pages stand one below the other.

    Raises VaenbError where there is no page, more than ten or one without a picture, for images
    that are no PNG, and for more than `vaenb.report.explorer.LIMIT` bytes in all.
    """
    if len(pages) > 10:
        raise VaenbError(f"there is room for ten pages and not for {len(pages)}: show fewer")
    if not pages or not all(any(rows.values()) for rows in pages.values()):
        raise VaenbError(f"pictures need at least one {what}, and each of them a picture")
    name = "vae" + hashlib.sha256(repr((title, what, list(pages))).encode()).hexdigest()[:8]
    picks, bodies, told = [], [], []
    for k, (page, rows) in enumerate(pages.items()):
        this, chosen = f"{name}-{k}", " checked" * (k == 0)
        picks.append(f'<input type="radio" name="{name}" id="{this}"{chosen}>'
                     f'<label for="{this}">{html.escape(page)}</label>')
        lines = []
        for row, cells in rows.items():
            shown = "".join(f"<td>{_cell(page, row, *cell)}</td>" for cell in cells)
            lines.append(f'<tr><th scope="row">{html.escape(row)}</th>{shown}</tr>')
            told += [[page, row, text.replace("\n", ", ")] for text, _ in cells]
        bodies.append(f'<section aria-label="{html.escape(what)} {html.escape(page)}">'
                      f"<table>{''.join(lines)}</table></section>")
    head = f"<strong>{html.escape(title)}</strong>" if title else ""
    page = (f'<div class="vae-pages">{head}<fieldset><legend>{html.escape(what)}</legend>'
            f'{"".join(picks)}</fieldset><div class="vae-scroll">{"".join(bodies)}</div>'
            f"<small>{html.escape(note)}</small></div>")
    table = Table([what, "", "shown"], told, ": ".join(filter(None, (title, note))))
    return Explorer(page, table, f"the pictures {title!r} take")


def _cell(page: str, row: str, caption: str, png: bytes) -> str:
    lines = [html.escape(line) for line in caption.split("\n")]
    image = _image(f"the image of {row!r} for {page!r}", png)
    alt = html.escape(f"{row}: ") + ", ".join(lines)
    return (f'<img src="{image["src"]}" width="56" height="56" alt="{alt}">'
            f"<span>{'<br>'.join(lines)}</span>")
