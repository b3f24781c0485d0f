"""Records, the papers' numbers, verdicts, tables and figures: what the chapters show."""

from vaenb.report.board import scoreboard, scoreboard_text
from vaenb.report.chapter import Chapter
from vaenb.report.explorer import curve_explorer, explorer, grid_explorer
from vaenb.report.pictures import picture_pages
from vaenb.report.points import points_explorer
from vaenb.report.verdicts import verdicts
