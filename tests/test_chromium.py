"""Finding and installing Chromium, on machines simulated by folders of fake programs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chromium import NAMES, WHAT_TO_DO, find_chromium, provide_chromium, way_to_the_lighter, ways_to_install

REPOSITORY = Path(__file__).resolve().parents[1]

BROWSER = "#!/bin/sh\necho Chromium 1\n"
STUB = "#!/bin/sh\necho 'requires the chromium snap to be installed' >&2\nexit 10\n"


class Machine:
    """Programs in a folder that is all of PATH; what they are called with is in the log."""

    def __init__(self, folder: Path):
        self.bin, self.log = folder / "bin", folder / "log"
        self.playwrights = str(folder / "playwright" / "chrome")
        self.environ = {"PATH": str(self.bin)}
        self.bin.mkdir()
        (folder / "playwright").mkdir()
        self.write(folder / "a browser", BROWSER)
        self.browser = folder / "a browser"

    def write(self, path, text: str) -> str:
        Path(path).write_text(text, encoding="utf-8")
        Path(path).chmod(0o755)
        return str(path)

    def program(self, name: str, text: str = BROWSER) -> str:
        return self.write(self.bin / name, text)

    def installer(self, name: str, puts: dict | None = None, fails: bool = False, exact: bool = False) -> str:
        """A program that logs its arguments and, where they hold (exact: are) a word of puts, puts a browser."""
        more = "" if exact else "*"
        cases = "".join(
            f"case \"$*\" in {more}'{word}'{more}) /bin/cp '{self.browser}' '{target}';; esac\n"
            for word, target in (puts or {}).items()
        )
        return self.program(name, f'#!/bin/sh\necho {name} "$@" >> {self.log}\n{cases}exit {int(fails)}\n')

    def sudo(self) -> None:
        self.program("sudo", f'#!/bin/sh\necho sudo >> {self.log}\n[ "$1" = -n ] && shift\nexec "$@"\n')

    def provide(self, python: str, is_root: bool = True) -> str:
        return provide_chromium(
            self.playwrights, ways_to_install(self.playwrights, self.environ, python, is_root), self.environ
        )

    @property
    def called(self) -> list[str]:
        return self.log.read_text(encoding="utf-8").splitlines() if self.log.exists() else []


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_a_browser_of_the_machine_is_found_by_each_of_its_names(machine, name):
    path = machine.program(name)
    assert find_chromium(machine.playwrights, machine.environ) == path
    python = machine.installer("python")
    assert machine.provide(python) == path and machine.called == []


def test_the_named_one_comes_first_and_playwrights_own_last(machine):
    own = machine.write(machine.playwrights, BROWSER)
    assert find_chromium(own, machine.environ) == own
    installed = machine.program("chromium")
    assert find_chromium(own, machine.environ) == installed
    named = machine.environ | {"CHROMIUM": str(machine.browser)}
    assert find_chromium(own, named) == str(machine.browser)
    with pytest.raises(FileNotFoundError, match=r"the variable CHROMIUM names no browser that runs: /nowhere"):
        find_chromium(own, machine.environ | {"CHROMIUM": "/nowhere"})


def test_a_note_in_a_browsers_place_is_none(machine):
    machine.program("chromium-browser", STUB)
    assert find_chromium(machine.playwrights, machine.environ) is None
    path = machine.program("google-chrome")
    assert find_chromium(machine.playwrights, machine.environ) == path


def test_playwrights_installer_is_asked_first(machine):
    python = machine.installer("python", {"install --no-shell chromium": machine.playwrights})
    machine.installer("apt-get")
    assert machine.provide(python) == machine.playwrights
    assert machine.called == ["python -m playwright install --no-shell chromium"]


def test_a_browser_that_lacks_libraries_gets_them(machine):
    machine.write(machine.playwrights, STUB)
    python = machine.installer("python", {"install-deps": machine.playwrights})
    machine.installer("apt-get")
    assert machine.provide(python) == machine.playwrights
    assert machine.called[-1] == "python -m playwright install-deps chromium"


@pytest.mark.parametrize("is_root", [True, False])
def test_where_its_host_cannot_be_reached_apt_installs_one(machine, is_root):
    python = machine.installer("python", fails=True)
    machine.installer("apt-get", {"install -qq -y chromium": machine.bin / "chromium"}, exact=True)
    machine.sudo()
    assert machine.provide(python, is_root) == str(machine.bin / "chromium")
    wanted = [
        "python -m playwright install --no-shell chromium",
        "apt-get update -qq",
        "apt-get install -qq -y chromium-headless-shell",
        "apt-get update -qq",
        "apt-get install -qq -y chromium",
    ]
    assert [call for call in machine.called if call != "sudo"] == wanted
    assert machine.called.count("sudo") == (0 if is_root else 4)


@pytest.mark.parametrize("comes", [True, False])
def test_the_lighter_one_is_installed_beside_a_whole_one(machine, comes):
    whole, shell = machine.program("chromium"), machine.bin / "chromium-headless-shell"
    machine.installer("apt-get", {"install": shell} if comes else None, fails=not comes)
    lighter = way_to_the_lighter(machine.environ, is_root=True)
    assert provide_chromium(machine.playwrights, iter(()), machine.environ, lighter) == (str(shell) if comes else whole)
    assert machine.called[0] == "apt-get update -qq"
    before = machine.called
    named = machine.environ | {"CHROMIUM": whole}
    assert provide_chromium(machine.playwrights, iter(()), named, lighter) == whole
    if comes:  # it is there now: nothing is asked again
        assert provide_chromium(machine.playwrights, iter(()), machine.environ, lighter) == str(shell)
    assert machine.called == before


def test_without_a_password_means_without_asking_for_one(machine):
    machine.installer("apt-get")
    assert way_to_the_lighter(machine.environ, is_root=False) == []  # no sudo
    machine.sudo()
    assert [command[1] for command in way_to_the_lighter(machine.environ, is_root=False)] == ["-n", "-n"]
    (machine.bin / "apt-get").unlink()
    assert way_to_the_lighter(machine.environ, is_root=True) == []


def test_who_may_not_install_is_told_what_to_do(machine):
    python = machine.installer("python", fails=True)
    machine.installer("apt-get", {"install": machine.bin / "chromium"})
    with pytest.raises(FileNotFoundError) as caught:  # neither root nor sudo
        machine.provide(python, is_root=False)
    assert str(caught.value) == WHAT_TO_DO
    assert machine.called == ["python -m playwright install --no-shell chromium"]


def test_an_apt_that_installs_a_note_is_told_too(machine):
    python = machine.installer("python", fails=True)
    machine.write(machine.browser, STUB)
    machine.installer("apt-get", {"install": machine.bin / "chromium-browser"})
    with pytest.raises(FileNotFoundError, match="no Chromium that runs"):
        machine.provide(python)


def test_the_command_prints_the_path_of_a_browser_that_is_there(tmp_path):
    """In a process of its own: Playwright runs once a process, and another test's browser may hold it."""
    environ = os.environ | {"CHROMIUM": Machine(tmp_path).program("my-browser")}
    command = [sys.executable, "-m", "tests.chromium"]
    answer = subprocess.run(command, cwd=REPOSITORY, env=environ, capture_output=True, text=True)
    assert (answer.returncode, answer.stdout.strip()) == (0, environ["CHROMIUM"])
    answer = subprocess.run(command, cwd=REPOSITORY, env=environ | {"CHROMIUM": "x"}, capture_output=True, text=True)
    assert answer.returncode == 1
    assert answer.stderr.strip() == "the variable CHROMIUM names no browser that runs: x"
