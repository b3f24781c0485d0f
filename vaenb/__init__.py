"""vaenb: what the chapters of *Where the Nats Go* share.

Its folders, in the order of a run; each imports only from those before it:
``data`` (named sets), ``models`` (distortion and rate), ``train`` (``fit``),
``measure`` (estimates), ``report`` (records, tables, verdicts).
"""

from pathlib import Path

from vaenb.errors import VaenbError

__version__ = "0.1.0"
PROFILES = ("recorded", "smoke", "quick", "cpu", "full")  # how much a chapter runs
ROOT = Path(__file__).resolve().parents[1]  # the clone: book/, notebooks/ and runs/ stand here


def require(version: str) -> None:
    """Stop unless this package is the release ``version`` (such as "0.1") that a notebook needs.

    Raises VaenbError with the two ways to mend a mismatch.
    """
    if not f"{__version__}.".startswith(f"{version}."):
        raise VaenbError(
            f"this notebook is written for vaenb {version} and vaenb {__version__} is installed: "
            f"take the notebook from the same checkout as the package, or run `pip install -e .` "
            f"in the notebook's checkout"
        )
