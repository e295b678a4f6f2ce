"""The table of `python -m benchmarks`: one row per question, with the measured figure and the project's bar."""

import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Row:
    """A measured figure. bar: the target, or "reported" if there is none. holds: None if there is no bar."""

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
    """Print rows as a table, each as soon as it is measured."""
    print(f"{torch.get_num_threads()} threads\n\n{HEAD}")
    for row in rows:
        print(row, flush=True)


def in_turns(works: dict[str, Callable], rounds: int) -> dict[str, float]:
    """Return median seconds of each work: all run once to warm up, then take turns, because machines are noisy."""
    for work in works.values():
        work()
    seconds = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            began = time.perf_counter()
            work()
            seconds[name].append(time.perf_counter() - began)
    return {name: statistics.median(taken) for name, taken in seconds.items()}
