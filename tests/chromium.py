"""Finds the Chromium for the browser tests, and installs one if the machine has none.

python -m tests.chromium does so and prints its path; `make test` runs it once. Candidates, in order: the browser that
the variable CHROMIUM names, the machine's own, Playwright's. Each must answer to --version, because Ubuntu's
chromium-browser can be a stub that only reports a missing snap.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence

# The headless one first: it opens a page in two thirds of the time
NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
VERSION_SECONDS, INSTALL_SECONDS = 60, 600
WHAT_TO_DO = (
    "no Chromium that runs, and none could be installed: say apt-get install chromium (Debian) or "
    "python -m playwright install --with-deps chromium (Ubuntu), or name one in the variable CHROMIUM"
)


def answers(path: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether this is a browser that starts here: all its libraries are there."""
    try:
        found = subprocess.run([path, "--version"], env=environ, capture_output=True, timeout=VERSION_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return found.returncode == 0


def find_chromium(playwrights: str, environ: Mapping[str, str] = os.environ) -> str | None:
    """The path of the browser, or None. playwrights: where Playwright keeps its own, whether it is there or not.

    Raises FileNotFoundError where the variable CHROMIUM names none that runs.
    """
    named = environ.get("CHROMIUM")
    if named:
        if not answers(named, environ):
            raise FileNotFoundError(f"the variable CHROMIUM names no browser that runs: {named}")
        return named
    installed = (shutil.which(name, path=environ.get("PATH", "")) for name in NAMES)
    return next((path for path in (*installed, playwrights) if path and answers(path, environ)), None)


def ways_to_install(
    playwrights: str, environ: Mapping[str, str] = os.environ, python: str = sys.executable, is_root: bool | None = None
) -> Iterator[list[list[str]]]:
    """Commands to try, one way after another: Playwright's installer, the libraries it lacks, the machine's apt."""
    playwright = [python, "-m", "playwright"]
    yield [[*playwright, "install", "--no-shell", "chromium"]]
    path = environ.get("PATH", "")
    is_root = os.geteuid() == 0 if is_root is None else is_root
    apt = shutil.which("apt-get", path=path)
    sudo = None if is_root else shutil.which("sudo", path=path)
    if apt is None or not (is_root or sudo):
        return
    may_ask = [] if sys.stdin is not None and sys.stdin.isatty() else ["-n"]
    as_root = [] if is_root else [sudo, *may_ask]
    if os.path.exists(playwrights):  # it is there now, and did not run
        yield [[*as_root, *playwright, "install-deps", "chromium"]]
    yield [[*as_root, apt, "update", "-qq"], [*as_root, apt, "install", "-qq", "-y", "chromium"]]


def succeeds(command: Sequence[str], environ: Mapping[str, str]) -> bool:
    """Run a command, say which, and whether it did what it should; one that hangs does not."""
    print("+", *command, file=sys.stderr, flush=True)
    environ = {"DEBIAN_FRONTEND": "noninteractive", "PLAYWRIGHT_DOWNLOAD_CONNECTION_TIMEOUT": "15000", **environ}
    try:
        return subprocess.run(command, env=environ, stdout=sys.stderr, timeout=INSTALL_SECONDS).returncode == 0
    except (OSError, subprocess.TimeoutExpired) as error:
        print(error, file=sys.stderr)
        return False


def provide_chromium(playwrights: str, ways: Iterator[list[list[str]]], environ: Mapping[str, str] = os.environ) -> str:
    """The path of the browser, installed if need be. Raises FileNotFoundError, saying what to do."""
    path = find_chromium(playwrights, environ)
    while path is None:
        way = next(ways, None)
        if way is None:
            raise FileNotFoundError(WHAT_TO_DO)
        if all(succeeds(command, environ) for command in way):
            path = find_chromium(playwrights, environ)
    return path


def main() -> int | str:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        playwrights = playwright.chromium.executable_path
    try:
        print(provide_chromium(playwrights, ways_to_install(playwrights)))
    except FileNotFoundError as error:
        return str(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
