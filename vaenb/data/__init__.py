"""Named data sets: found where they were prepared, else fetched, checked and prepared."""

from vaenb.data import splits, tetrominoes
from vaenb.data.dataset import DataSet, resize, unit
from vaenb.data.sources import NAMES, folder
from vaenb.data.store import load, prepare, status

__all__ = ["NAMES", "DataSet", "folder", "load", "prepare", "resize", "splits", "status",
           "tetrominoes", "unit"]
