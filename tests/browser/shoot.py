"""A page of the built book as a picture, to look at: python tests/browser/shoot.py PAGE OUT.png

PAGE is a path under _build/html, such as book/index.html, or any URL.
"""

import argparse
import time
from pathlib import Path

from chromium import Chromium, served


def main() -> None:
    parse = argparse.ArgumentParser(description=__doc__)
    parse.add_argument("page")
    parse.add_argument("out", type=Path)
    parse.add_argument("--dark", action="store_true")
    parse.add_argument("--width", type=int, default=1280)
    parse.add_argument("--height", type=int, default=900)
    parse.add_argument("--whole", action="store_true", help="all of the page, not the window only")
    parse.add_argument("--at", default="", help="a CSS selector: only that element")
    parse.add_argument("--js", default="", help="run this in the page first")
    given = parse.parse_args()
    with served() as address, Chromium(given.width, given.height) as browser:
        browser.mode("dark" if given.dark else "light")
        browser.open(given.page if "://" in given.page else address + given.page)
        if given.js:
            browser.js(given.js)
            time.sleep(0.5)
        given.out.write_bytes(browser.png(given.at, given.whole))


if __name__ == "__main__":
    main()
