"""What all commands share at a terminal."""

import sys


def accept_any_encoding() -> None:
    """Write what the output's encoding lacks as escapes: a pipe, an old console or the C locale must not end a run."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a captured stream may be none of Python's own
            stream.reconfigure(errors="backslashreplace")
