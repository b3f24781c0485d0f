"""The one exception that readers meet: a sentence that says what, where and how to mend it."""


class VaenbError(ValueError):
    """An impossible setting, an unknown name, or a missing or corrupt file."""


class OutOfTime(Exception):
    """The budget is spent and the state is saved; the same command goes on from there. No
    VaenbError, so that who catches what is wrong with one model does not catch a pause."""

    status = 75  # of the `vaenb` command that ends with it


def at_least_one(**sizes: int):
    """Raises VaenbError for a size or count that is below 1 or not whole, and names it."""
    for name, size in sizes.items():
        if size < 1:
            raise VaenbError(f"{name} is {size} and must be at least 1")
        if size != int(size):
            raise VaenbError(f"{name} is {size} and must be a whole number")
