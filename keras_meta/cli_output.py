"""How the console script prints: tables of plain text, errors in one line."""

import sys

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

LONGEST = 300


def plain_table(title, *columns):
    """Returns a table with a title and columns, whose cells are folded."""
    table = Table(title=plain_text(title), title_justify="left", box=box.SIMPLE_HEAD)
    for column in columns:
        table.add_column(plain_text(column), overflow="fold")
    return table


def plain_text(value):
    """Returns plain text: no markup and no control characters, and not a page of it."""
    text = "-" if value is None else str(value)
    if len(text) > LONGEST:
        text = f"{text[:LONGEST]} ... ({len(text):,} characters)"
    return Text("".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text))


def new_console():
    """Returns a console on what is standard output now."""
    # Made for each run: rich would keep the stdout of the import's time.
    return Console(file=sys.stdout)


def fail(error):
    """Prints one line on standard error; returns the exit status 2."""
    line = " ".join(str(error).split())
    print(f"keras-meta: error: {plain_text(line).plain}", file=sys.stderr)
    return 2
