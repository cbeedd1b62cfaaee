"""Pages of findings, in which a script keeps its tables up to date."""

import re

from pearl.config.reading import ConfigError


def with_table(text: str, family: str, table: str) -> str:
    """Return a page with the family's table in its place.

    Raises:
        ConfigError: the page has no place for it.
    """
    place = re.compile(rf"(<!-- {re.escape(family)} -->\n)(?:(?!<!--).)*(<!-- / -->)", re.DOTALL)
    if not place.search(text):
        raise ConfigError(f"The page has no place for {family}'s table: <!-- {family} -->, a line, and <!-- / -->.")
    return place.sub(lambda found: f"{found[1]}\n{table}\n\n{found[2]}", text)
