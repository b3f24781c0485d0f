"""The one exception that readers meet: a sentence that says what, where and how to mend it."""


class VaenbError(ValueError):
    """An impossible setting, an unknown name, or a missing or corrupt file."""
