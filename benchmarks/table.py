"""What `python -m benchmarks` prints: one row a question, its figure beside the bar that the project set itself."""

import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Row:
    """A measured figure. bar: what it should be, "reported" where any will do. holds: None where there is no bar."""

    what: str
    figure: str
    bar: str = "reported"
    holds: bool | None = None

    @classmethod
    def at_least(cls, what: str, value: float, bar: float, form: str = "{:.2f}") -> "Row":
        return cls(what, form.format(value), f"≥ {form.format(bar)}", value >= bar)

    @classmethod
    def at_most(cls, what: str, value: float, bar: float, form: str = "{:.2f}") -> "Row":
        return cls(what, form.format(value), f"≤ {form.format(bar)}", value <= bar)

    def __str__(self) -> str:
        verdict = {None: "", True: "yes", False: "**no**"}[self.holds]
        return f"| {self.what} | {self.figure} | {self.bar} | {verdict} |"


HEAD = "| what | measured | bar | holds |\n|---|---|---|---|"


def print_rows(rows: Iterable[Row]) -> None:
    """As a table, each row when it is there."""
    print(f"{torch.get_num_threads()} threads\n\n{HEAD}")
    for row in rows:
        print(row, flush=True)


def in_turns(works: dict[str, Callable], rounds: int) -> dict[str, float]:
    """Median seconds of each piece of work: all once to warm up, then by turns, since these machines are noisy."""
    for work in works.values():
        work()
    seconds = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            began = time.perf_counter()
            work()
            seconds[name].append(time.perf_counter() - began)
    return {name: statistics.median(taken) for name, taken in seconds.items()}
