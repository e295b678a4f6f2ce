"""How much do simultaneous visitors slow each other? Pictures per second and the longest wait, with 1, 4 and 16.

python -m benchmarks.visitors [--steps 20] [--images 4] [--visitors 1 4 16]

All visitors ask the running app's /generate for a run of their own at the same moment; the network runs one at a time.
With 16 visitors, the pictures per second should be at least 0.95 of those with one, and nobody should wait longer than
2 x visitors x the time of one. The time of one is the median of five runs.
"""

import argparse
import statistics
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from gradio_client import Client

from app.server.checkpoints import Catalogue
from app.server.options import ROOT
from benchmarks.startup import started
from benchmarks.table import Row, print_rows
from diffusion.console import accept_any_encoding

RATE, WAIT = 0.95, 2.0


def waits(clients: list[Client], fields: dict) -> list[float]:
    """Return the seconds until each client has its pictures, when all ask at once."""
    together = Barrier(len(clients))

    def visit(number: int) -> float:
        together.wait()
        began = time.perf_counter()
        images, _ = clients[number].predict(**fields | {"seed": 1000 * number}, api_name="/generate")
        if len(images) != fields["num_images"]:
            raise RuntimeError(f"visitor {number} got {len(images)} pictures")
        return time.perf_counter() - began

    with ThreadPoolExecutor(len(clients)) as pool:
        return list(pool.map(visit, range(len(clients))))


def rows(steps: int = 20, images: int = 4, visitors: Sequence[int] = (1, 4, 16)) -> Iterator[Row]:
    """Yield two rows for the largest number of visitors, with bars, and one for each smaller number."""
    fields = {
        "checkpoint": Catalogue(ROOT / "checkpoints").default(),
        "num_inference_steps": steps,
        "num_images": images,
    }
    with started("app.py") as (_, address, _):
        clients = [Client(address, verbose=False, download_files=False) for _ in range(max(visitors))]
        for _ in range(2):  # the first run loads the checkpoint, and its engine is ready after it
            waits(clients[:1], fields)
        one = statistics.median(waits(clients[:1], fields)[0] for _ in range(5))
        for count in visitors:
            longest = one if count == 1 else max(waits(clients[:count], fields))
            rate, turn = count * one / longest, longest / (count * one)
            if count < max(visitors):
                yield Row(
                    f"{count} visitors at once: pictures/s", f"{count * images / longest:.1f} ({rate:.2f} of one's)"
                )
                continue
            yield Row.at_least(f"{count} visitors at once: pictures/s against one's", rate, RATE)
            yield Row.at_most(f"{count} visitors at once: longest wait against {count} times one's", turn, WAIT)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--visitors", type=int, nargs="+", default=[1, 4, 16])
    print_rows(rows(**vars(parser.parse_args())))


if __name__ == "__main__":
    accept_any_encoding()
    main()
