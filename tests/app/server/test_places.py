"""Where the app listens and writes: what is wrong is one sentence, before anything starts."""

import os
import socket
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from app.server.options import parse
from app.server.places import TEMP, PlaceError, check_address, use_own_temp_folder

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    for name in ("GRADIO_SERVER_NAME", "GRADIO_SERVER_PORT", TEMP):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def busy():
    """A port on which somebody listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        yield held.getsockname()[1]


def test_a_busy_port_is_one_sentence(busy, monkeypatch):
    with pytest.raises(PlaceError, match=f"^--port: {busy} is in use; choose another"):
        check_address(None, busy)
    monkeypatch.setenv("GRADIO_SERVER_PORT", str(busy))
    with pytest.raises(PlaceError, match=f"{busy} is in use"):
        check_address(None, None)


@pytest.mark.parametrize("host", ["no.such.host.invalid", "198.51.100.7", "256.1.1.1", "a" * 300, "\udcff"])
def test_a_host_that_is_not_this_machine_is_one_sentence(host):
    with pytest.raises(PlaceError, match=r"^--host: '.*' is no address of this machine \("):
        check_address(host, None)


@pytest.mark.parametrize("value", ["x", "0", "70000", "-1", "8 0"])
def test_a_port_of_the_environment_that_is_none_is_one_sentence(monkeypatch, value):
    monkeypatch.setenv("GRADIO_SERVER_PORT", value)
    with pytest.raises(PlaceError, match=r"^GRADIO_SERVER_PORT: must be a whole number from 1 to 65535"):
        check_address(None, None)


@pytest.mark.parametrize("host", [None, "localhost", "127.0.0.1", "0.0.0.0"])
def test_an_address_that_is_free_is_free_afterwards(host):
    check_address(host, None)
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        free = held.getsockname()[1]
    check_address(host, free)
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", free))


def test_the_command_says_it_and_stops(busy):
    command = [sys.executable, "app.py", "--port", str(busy)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr == f"app.py: --port: {busy} is in use; choose another, or none to get a free one\n"


@pytest.mark.parametrize("made", ["model_index.json", "unet"])
def test_a_checkpoint_in_the_place_of_their_folder_is_one_sentence(tmp_path, capsys, made):
    (tmp_path / made).mkdir() if made == "unet" else (tmp_path / made).write_text("{}")
    with pytest.raises(SystemExit):
        parse(["--checkpoints", str(tmp_path)])
    assert "is a checkpoint itself; name the folder that it lies in" in capsys.readouterr().err


def test_the_usual_temporary_folder_is_kept_if_it_is_ours(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    use_own_temp_folder()
    assert TEMP not in os.environ and (tmp_path / "gradio").is_dir()
    monkeypatch.setenv(TEMP, "/elsewhere")
    use_own_temp_folder()
    assert os.environ[TEMP] == "/elsewhere"


def test_another_users_temporary_folder_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "gradio").mkdir()
    uid = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: uid + 1)
    monkeypatch.setenv(TEMP, "")  # so that it is restored
    use_own_temp_folder()
    own = Path(os.environ[TEMP])
    assert own.parent == tmp_path and own.name.startswith("gradio-")
    assert stat.S_IMODE(own.stat().st_mode) == 0o700


def test_a_machine_without_any_temporary_folder_is_told(monkeypatch):
    def none():
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", none)
    with pytest.raises(PlaceError, match=r"^TMPDIR: no folder for temporary files can be written"):
        use_own_temp_folder()
