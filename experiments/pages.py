"""Update of the tables in a page of findings."""

import re

from pearl.config.reading import ConfigError


def with_table(text: str, family: str, table: str) -> str:
    """Return a page with the family's new table.

    Raises:
        ConfigError: the page lacks the marks that enclose the table.
    """
    place = re.compile(rf"(<!-- {re.escape(family)} -->\n)(?:(?!<!--).)*(<!-- / -->)", re.DOTALL)
    if not place.search(text):
        raise ConfigError(f"The page has no place for {family}'s table: <!-- {family} -->, a line, and <!-- / -->.")
    return place.sub(lambda found: f"{found[1]}\n{table}\n\n{found[2]}", text)
