"""One look for all figures: sizes, colours, and image strips."""

import io
import sys

import numpy as np

import vaenb
from vaenb.errors import VaenbError

WIDE, SQUARE = (9.0, 3.4), (4.4, 4.0)  # inches, for every chapter
_INK, _PAPER = "#222222", "#ffffff"
# Okabe and Ito's palette (2008), told apart by all common kinds of colour vision.
_COLOURS = {
    "beta-VAE": "#0072B2",
    "Shared sigma-VAE": "#E69F00",
    "Optimal sigma-VAE": "#D55E00",
    "Opt. per-image sigma-VAE": "#CC79A7",
    "Per-pixel sigma-VAE": "#8C5A3C",
    "Gaussian VAE": "#56B4E9",
    "Student-t VAE": "#117733",
    "Bernoulli VAE": "#999999",
    "Categorical VAE": "#009E73",
    "bitwise-categorical VAE": "#44AA99",
    "Logistic mixture VAE": "#332288",
    "Disc. Gaussian sigma-VAE": "#AA4499",
    "Disc. Logistic sigma-VAE": "#882255",
    "1-layer MLP": "#0072B2",
    "3-layer MLP": "#D55E00",
    "1-layer CNN": "#56B4E9",
    "3-layer CNN": "#E69F00",
    "VAE": "#CC79A7",
    "Ours": "#D55E00",
    "VAE + anneal": "#882255",
    "Ours + anneal": "#E69F00",
    "SA-VAE": "#009E73",
    "SA-VAE + anneal": "#44AA99",
    "LSTM-LM": "#332288",
    "PixelCNN": "#332288",
    "CNN": "#E69F00",
    "Dueling Decoder": "#D55E00",
    "KL Annealing": "#009E73",
    "Free Bits": "#56B4E9",
    "Penalty-VAE": "#999999",
    "PixelCNN + auxiliary Gradient": "#CC79A7",
    "PixelCNN + auxiliary Marginals": "#8C5A3C",
    "PixelCNN + auxiliary Histogram": "#882255",
}
_SPARE = ["#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#882255", "#332288"]
_MARKERS = "osD^vP*X"


def style() -> None:
    """Set matplotlib to the book's look; an opaque white ground reads on any page.

    A notebook gets the book's style sheet, so that its tables and pages of pictures look and work
    as in the book.
    """
    import matplotlib as mpl

    if "ipykernel" in sys.modules:
        from IPython.display import HTML, display

        sheet = (vaenb.ROOT / "book" / "_static" / "vae.css").read_text("utf-8")
        display(HTML(f"<style>{sheet}</style>"))
    mpl.rcParams.update({
        "figure.figsize": WIDE, "figure.dpi": 110, "savefig.dpi": 110,
        "figure.constrained_layout.use": True, "figure.facecolor": _PAPER,
        "axes.facecolor": _PAPER, "axes.edgecolor": _INK, "text.color": _INK,
        "axes.labelcolor": _INK, "xtick.color": _INK, "ytick.color": _INK,
        "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True,
        "grid.color": "#dddddd", "grid.linewidth": 0.6, "axes.axisbelow": True,
        "font.size": 10, "axes.titlesize": 10, "legend.frameon": False,
        "legend.fontsize": 8.5, "lines.linewidth": 1.6, "lines.markersize": 6,
    })


def colour(model: str) -> str:
    """The colour of a model, the same in every chapter; a new name gets one by its letters."""
    return _COLOURS.get(model) or _SPARE[sum(map(ord, model)) % len(_SPARE)]


def marker(model: str) -> str:
    """The marker of a model, so that no figure speaks by colour alone."""
    names = list(_COLOURS)
    place = names.index(model) if model in names else sum(map(ord, model))
    return _MARKERS[place % len(_MARKERS)]


def legend(fig, **more) -> None:
    """One legend of all panels of a figure, each name once; none where nothing has a name."""
    named = {text: handle for ax in fig.axes for handle, text in zip(
        *ax.get_legend_handles_labels(), strict=True)}
    if named:
        fig.legend(named.values(), named, fontsize="small", **more)


def strip(images, cols: int) -> np.ndarray:
    """Images [N, C, H, W] as one picture [.., .., 3] uint8 with ``cols`` columns on white.

    Floats count as [0, 1]. Raises VaenbError for other shapes.
    """
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[1] not in (1, 3) or len(images) == 0 or cols < 1:
        raise VaenbError(f"a strip needs images [N, 1 or 3, H, W] and at least one column, "
                         f"got {images.shape} and {cols}")
    if images.dtype != np.uint8:
        images = (np.clip(images, 0, 1) * 255).round().astype(np.uint8)
    count, _, height, width = images.shape
    rows, gap = -(-count // cols), 2
    sheet = np.full((rows * (height + gap) - gap, cols * (width + gap) - gap, 3), 255, np.uint8)
    for k, image in enumerate(images):
        top, left = (k // cols) * (height + gap), (k % cols) * (width + gap)
        sheet[top:top + height, left:left + width] = image.transpose(1, 2, 0)
    return sheet


def png(picture: np.ndarray) -> bytes:
    """A picture [H, W] or [H, W, 3] uint8 as the bytes of a PNG file."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
