"""Finds the Chromium for the browser tests, and installs one if the machine has none.

python -m tests.chromium does so and prints its path; `make test` runs it once. Candidates, in order: the browser that
the variable CHROMIUM names, the machine's own, Playwright's. Each must answer to --version, because Ubuntu's
chromium-browser can be a stub that only reports a missing snap. Where the machine has a whole browser and apt may be
asked without a password, the lighter headless one is installed beside it.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence

SHELL = "chromium-headless-shell"  # Debian's package and its program: it opens a page in two thirds of the time
NAMES = (SHELL, "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
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
    may_ask = sys.stdin is not None and sys.stdin.isatty()
    as_root = prefix_for_root(environ, is_root, may_ask)
    apt = shutil.which("apt-get", path=environ.get("PATH", ""))
    if apt is None or as_root is None:
        return
    if os.path.exists(playwrights):  # it is there now, and did not run
        yield [[*as_root, *playwright, "install-deps", "chromium"]]
    for package in (SHELL, "chromium"):
        yield [[*as_root, apt, "update", "-qq"], [*as_root, apt, "install", "-qq", "-y", package]]


def prefix_for_root(environ: Mapping[str, str], is_root: bool | None, may_ask: bool) -> list[str] | None:
    """What stands before a command that needs root's rights; None where this user cannot have them."""
    if os.geteuid() == 0 if is_root is None else is_root:
        return []
    sudo = shutil.which("sudo", path=environ.get("PATH", ""))
    return None if sudo is None else [sudo] if may_ask else [sudo, "-n"]


def way_to_the_lighter(environ: Mapping[str, str] = os.environ, is_root: bool | None = None) -> list[list[str]]:
    """Commands that put the headless browser beside a whole one; none where apt would have to ask."""
    apt = shutil.which("apt-get", path=environ.get("PATH", ""))
    as_root = prefix_for_root(environ, is_root, may_ask=False)
    if apt is None or as_root is None:
        return []
    return [[*as_root, apt, "update", "-qq"], [*as_root, apt, "install", "-qq", "-y", SHELL]]


def succeeds(command: Sequence[str], environ: Mapping[str, str]) -> bool:
    """Run a command, say which, and whether it did what it should; one that hangs does not."""
    print("+", *command, file=sys.stderr, flush=True)
    environ = {"DEBIAN_FRONTEND": "noninteractive", "PLAYWRIGHT_DOWNLOAD_CONNECTION_TIMEOUT": "15000", **environ}
    try:
        return subprocess.run(command, env=environ, stdout=sys.stderr, timeout=INSTALL_SECONDS).returncode == 0
    except (OSError, subprocess.TimeoutExpired) as error:
        print(error, file=sys.stderr)
        return False


def provide_chromium(
    playwrights: str,
    ways: Iterator[list[list[str]]],
    environ: Mapping[str, str] = os.environ,
    lighter: Sequence[list[str]] = (),
) -> str:
    """The path of the browser, installed if need be. Raises FileNotFoundError, saying what to do.

    lighter: tried once where the browser found is a whole one that the variable CHROMIUM does not name.
    """
    path = find_chromium(playwrights, environ)
    if path is not None and lighter and os.path.basename(path) != SHELL and not environ.get("CHROMIUM"):
        all(succeeds(command, environ) for command in lighter)
        return find_chromium(playwrights, environ) or path
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
        print(provide_chromium(playwrights, ways_to_install(playwrights), lighter=way_to_the_lighter()))
    except FileNotFoundError as error:
        return str(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
