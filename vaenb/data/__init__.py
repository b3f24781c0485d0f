"""Named data sets: found where they were prepared, else fetched, checked and prepared."""

from vaenb.data import sequences, splits, store, tetrominoes, text
from vaenb.data.dataset import DataSet, binarised, resize, unit
from vaenb.data.sources import NAMES, folder
from vaenb.data.store import load, prepare, status
