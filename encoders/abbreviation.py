"""Values and texts shortened for error messages."""

import reprlib

LONGEST = 100
"""Maximum number of characters of a value in an error message"""


class _Abbreviation(reprlib.Repr):
    """A ``Repr`` that reads only a container's first items, so that its cost does not grow with the value."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 4
        self.maxdict = self.maxlist = self.maxtuple = self.maxset = self.maxfrozenset = self.maxdeque = 10
        self.maxstring = self.maxother = self.maxlong = LONGEST

    def repr_int(self, x: int, level: int) -> str:
        # Python refuses to convert integers of more than 4,300 digits to text.
        return f"<a whole number of {x.bit_length()} bits>" if x.bit_length() > 400 else super().repr_int(x, level)


_ABBREVIATION = _Abbreviation()


def abbreviated(value: object, longest: int = LONGEST) -> str:
    """Return the ``repr`` of a value, cut to ``longest`` characters."""
    return shortened(_ABBREVIATION.repr(value), longest)


def shortened(text: str, longest: int) -> str:
    """Return a text, cut to ``longest`` characters."""
    return text if len(text) <= longest else text[: longest - 3] + "..."
