"""What do visitors notice of each other? Pictures a second, and the longest wait, with 1, 4 and 16 of them at once.

python -m benchmarks.visitors [--steps 20] [--images 4] [--visitors 1 4 16]

Each asks the running app's /generate for a run of its own, all at the same moment; the network runs one at a time. With
16 at once the pictures a second should be at least 0.95 of those with one, and nobody should wait longer than twice
(visitors x the time of one). The time of one is the median of three runs.
"""

import argparse
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from gradio_client import Client

from app.catalogue import Catalogue
from app.options import ROOT
from benchmarks.startup import started


def waits(clients: list[Client], fields: dict) -> list[float]:
    """Seconds until each of the clients has its pictures, when all ask at once."""
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--visitors", type=int, nargs="+", default=[1, 4, 16])
    options = parser.parse_args()
    name = Catalogue(ROOT / "checkpoints").default()
    fields = {"checkpoint": name, "num_inference_steps": options.steps, "num_images": options.images}
    print(f"{name}, DDIM-{options.steps}, {options.images} pictures each")
    print("| visitors | pictures/s | against one | longest wait, s | against visitors x one |\n|---|---|---|---|---|")
    with started("app.py") as (_, address, _):
        clients = [Client(address, verbose=False, download_files=False) for _ in range(max(options.visitors))]
        for _ in range(2):  # the first run loads the checkpoint, and its engine is ready after it
            waits(clients[:1], fields)
        one = statistics.median(waits(clients[:1], fields)[0] for _ in range(3))
        for count in options.visitors:
            longest = one if count == 1 else max(waits(clients[:count], fields))
            rate, rate_of_one = count * options.images / longest, options.images / one
            print(
                f"| {count} | {rate:.2f} | {rate / rate_of_one:.2f} | {longest:.1f} | {longest / (count * one):.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
