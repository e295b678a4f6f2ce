"""Numbers as CSV files that a link on the page holds."""

import csv
import io
from collections.abc import Iterable
from urllib.parse import quote


def csv_address(names: Iterable[str], rows: Iterable[Iterable[float | str | None]]) -> str:
    """Return a data: address that holds a CSV file. Floats have six significant digits; None is an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        writer.writerow(f"{value:.6g}" if isinstance(value, float) else value for value in row)
    return "data:text/csv;charset=utf-8," + quote(text.getvalue(), safe=",-.")
