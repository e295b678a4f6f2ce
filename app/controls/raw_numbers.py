"""Numbers as the browser sends them, unchecked."""

import math


def whole(value):
    """Turn a whole float into an int, since JavaScript has no integers. The settings refuse any other wrong value."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def is_close(a, b: float) -> bool:
    """Return whether the value is a number equal to b up to rounding."""
    return is_number(a) and math.isclose(a, b, rel_tol=1e-9)


def is_number(value) -> bool:
    """Return whether the value is an int or float, and finite as a float."""
    try:
        return type(value) in (int, float) and math.isfinite(value)
    except OverflowError:
        return False
