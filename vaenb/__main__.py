"""`python -m vaenb` is the command `vaenb`."""

from vaenb.cli import main

main()
