"""How numbers are written in sentences: one rule for small, large, percentages and plurals."""

import math

SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
PLAIN = -6, 15  # powers of ten that are written out


class Count(int):
    """A whole number in a text. {steps:step|steps} is the first word for 1, else the second; {steps:,} 1,000."""

    def __format__(self, spec: str) -> str:
        one, is_plural, many = spec.partition("|")
        return (one if self == 1 else many) if is_plural else super().__format__(spec)


def fill(text: str, values: dict) -> str:
    """Return a text with its {places} filled."""
    return text.format(**{name: Count(value) if type(value) is int else value for name, value in values.items()})


def number(value: float, digits: int = 3) -> str:
    """Return a number with so many significant digits, as people write it: 1,230; 0.0000404; 2.3×10⁻⁹; ∞."""
    if not math.isfinite(value):
        return "–" if math.isnan(value) else "∞" if value > 0 else "−∞"
    if value == 0:
        return "0"
    mantissa, _, power = f"{abs(value):.{digits - 1}e}".partition("e")
    sign, power = "−" if value < 0 else "", int(power)
    if not PLAIN[0] <= power < PLAIN[1]:
        return f"{sign}{_trimmed(mantissa)}×10{str(power).translate(SUPERSCRIPTS)}"
    return sign + _trimmed(f"{round(abs(value), digits - 1 - power):,.{max(0, digits - 1 - power)}f}")


def percent(share: float) -> str:
    """Return a share as a percentage with three significant digits; what is nearly nothing or nearly all is said so."""
    if 0 < share < 1e-4:
        return "< 0.01%"
    if 0.9999 < share < 1:
        return "> 99.99%"
    return f"{number(100 * share, 3 if share < 0.999 else 4)}%"


def _trimmed(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text
