"""Prints one table of faults and what they do: `make faults` (some ten minutes), or python -m tests.faults [KIND ...].

Folders, files, disks, kills and requests as they go wrong in the field: the tests of these kinds run in full, where
`make test` takes a share of the longest, and what fails is counted by what it would have cost a user.
"""

import os
import sys
from collections import defaultdict
from dataclasses import dataclass

import pytest

from diffusion.console import accept_any_encoding

PICTURES, STATES, ERRORS = "wrong pictures", "lost states", "unclear errors"
COLUMNS = (PICTURES, STATES, ERRORS)
FULL = {"DDPM_LAB_FAULTS_EVERY": "1", "DDPM_LAB_KILLS": "50"}


@dataclass(frozen=True)
class Kind:
    """A kind of fault: the tests that make it, and the column in which a failure counts."""

    name: str
    column: str
    tests: tuple[str, ...]


TRAINING, SERVER, DIFFUSION = "tests/training", "tests/app/server", "tests/diffusion"
RUN, TINY = f"{TRAINING}/test_faults.py", f"{TRAINING}/test_evaluate.py::test_a_tiny_set_is_measured_as_far_as_it_goes"
FOREIGN = (f"{DIFFUSION}/test_checkpoint.py", f"{DIFFUSION}/test_checkpoint_config.py")
KINDS = (
    Kind("folders of pictures, as they come", PICTURES, (f"{TRAINING}/test_data_folders.py",)),
    Kind("pictures of more than 8 bits", PICTURES, (f"{TRAINING}/test_data_depth.py",)),
    Kind("tiny sets, short schedules", ERRORS, (TINY,)),
    Kind("an export killed at a file operation", STATES, (f"{RUN}::test_an_export_killed_anywhere",)),
    Kind("an export on a full disk", ERRORS, (f"{RUN}::test_an_export_on_a_full_disk_leaves_the_old_one",)),
    Kind("a save killed, or on a full disk", STATES, (f"{RUN}::test_a_save_with_a_fault_leaves_a_whole_state",)),
    Kind("a training killed at random", STATES, (f"{RUN}::test_random_kills_lose_nothing",)),
    Kind("damaged states, records and logs", STATES, (RUN,)),
    Kind(
        "checkpoints of other programs",
        PICTURES,
        FOREIGN,
    ),
    Kind("odd folders among the checkpoints", ERRORS, (f"{SERVER}/test_odd_folders.py",)),
    Kind("an engine's cache", PICTURES, (f"{DIFFUSION}/engines/test_onnx.py",)),
    Kind("pictures from strangers", ERRORS, (f"{DIFFUSION}/test_decoding.py", "tests/app/api/test_pngs.py")),
    Kind("malformed requests", ERRORS, ("tests/app/api/test_fuzz.py", "tests/app/api/test_bodies.py")),
    Kind("where it runs", ERRORS, (f"{SERVER}/test_places.py",)),
)


class Counts:
    """What the tests of each kind found. cases: tried; failures: the names of the tests that failed, by kind."""

    def __init__(self):
        self.cases: dict[str, int] = defaultdict(int)
        self.failures: dict[str, list[str]] = defaultdict(list)

    def pytest_runtest_logreport(self, report) -> None:
        """Count one test, or the cases that it says it tried."""
        if report.when != "call" and not report.failed:
            return
        kind = kind_of(report.nodeid)
        self.cases[kind.name] += int(dict(report.user_properties).get("cases", 1))
        if report.failed:
            self.failures[kind.name].append(report.nodeid)


def kind_of(test: str) -> Kind:
    """Return the kind that names this test most closely."""
    names = {name: kind for kind in KINDS for name in kind.tests if test.startswith(name)}
    return names[max(names, key=len)]


def table(counts: Counts) -> str:
    """Return the table in Markdown."""
    lines = [f"| kind | cases tried | {' | '.join(COLUMNS)} |", "|---" + "|---:" * (1 + len(COLUMNS)) + "|"]
    for kind in KINDS:
        if kind.name in counts.cases:
            failed = [len(counts.failures[kind.name]) if kind.column == column else 0 for column in COLUMNS]
            lines.append(f"| {kind.name} | {counts.cases[kind.name]:,} | {' | '.join(map(str, failed))} |")
    return "\n".join(lines)


def main(names: list[str]) -> int:
    """Run the tests of the kinds whose names hold one of these words, by default of all. Returns the exit status."""
    os.environ.update({name: os.environ.get(name, value) for name, value in FULL.items()})
    chosen = [kind for kind in KINDS if not names or any(name in kind.name for name in names)]
    if not chosen:
        print("no such kind; there are: " + "; ".join(kind.name for kind in KINDS), file=sys.stderr)
        return 2
    counts, tests = Counts(), dict.fromkeys(test for kind in chosen for test in kind.tests)
    status = pytest.main(
        ["-q", "--no-header", "-p", "no:cacheprovider", "--timeout=3600", "--tb=short", *tests], [counts]
    )
    print("\n" + table(counts))
    for name, failed in ((name, failed) for name, failed in counts.failures.items() if failed):
        print(f"{name}: {', '.join(failed)}")
    return int(status)


if __name__ == "__main__":
    accept_any_encoding()
    sys.exit(main(sys.argv[1:]))
