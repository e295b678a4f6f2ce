"""All speed benchmarks in one table: `make bench`, or python -m benchmarks [PART ...] [--quick].

Run it on an otherwise idle machine: every figure is a ratio of medians within one run, but a busy core is still
missing. --quick: fewer rounds and pictures, to check that everything runs.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks import memory, samplers, sampling, startup, streaming, training_speed, visitors
from benchmarks.table import Row, print_rows
from diffusion.console import accept_any_encoding
from training.samples import CACHE

PARTS: dict[str, Callable[..., Iterator[Row]]] = {
    "sampling": sampling.rows,
    "streaming": streaming.rows,
    "startup": startup.rows,
    "memory": memory.rows,
    "training": training_speed.rows,
    "samplers": samplers.table_rows,
    "visitors": visitors.rows,
}
WHOLE = {"samplers": {"pictures": 16, "samples": 100}}  # python -m benchmarks.samplers takes more, for hours
QUICK = {
    "sampling": {"rounds": 1, "steps": 4},
    "streaming": {"rounds": 1, "images": 4, "steps": 5},
    "startup": {"rounds": 1},
    "memory": {"images": 4, "steps": 2},
    "training": {"rounds": 1, "steps": 1},
    "samplers": {"calls": (10, 20), "pictures": 4, "samples": 0},
    "visitors": {"steps": 5, "visitors": (1, 2)},
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--quick", action="store_true", help="check that everything runs")
    parser.add_argument("--cache", type=Path, default=CACHE, help="folder of the samples (default: %(default)s)")
    parser.add_argument("--samples", type=int, default=None, help="samples per KID of the samplers; 0 leaves KID out")
    options = parser.parse_args()
    print_rows(rows(options.parts or list(PARTS), options))


def rows(parts: list[str], options) -> Iterator[Row]:
    """Yield the rows of these parts, and how long each part took."""
    for part in parts:
        began = time.perf_counter()
        fields = (QUICK if options.quick else WHOLE).get(part, {})
        if part == "samplers":
            folders = [sampling.ROOT / "checkpoints" / name for name in sampling.SHIPPED]
            own = {} if options.samples is None else {"samples": options.samples}
            fields = {"checkpoints": folders, "cache": options.cache} | fields | own
        yield from PARTS[part](**fields)
        yield Row(f"*{part}: minutes*", f"{(time.perf_counter() - began) / 60:.1f}", "")


if __name__ == "__main__":
    accept_any_encoding()
    main()
