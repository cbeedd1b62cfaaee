"""Files, written whole and never through a link, read within bounds; and the lock on a folder."""
