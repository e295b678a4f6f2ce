"""Where the app listens and writes: checked before it starts, so that what is wrong is one sentence."""

import atexit
import errno
import os
import shutil
import socket
import tempfile
from pathlib import Path

TEMP = "GRADIO_TEMP_DIR"


class PlaceError(Exception):
    """The app cannot start there; the text says which option to change."""


def check_address(host: str | None, port: int | None) -> None:
    """Check that the app can listen there; None is what the environment or Gradio decides. Raises PlaceError.

    Without a port, Gradio takes the first free one, and nothing is checked but the host.
    """
    host = host or os.environ.get("GRADIO_SERVER_NAME") or "127.0.0.1"
    port = port or _port_of_the_environment()
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError) as error:
        raise PlaceError(f"--host: {host!r} is no address of this machine ({error})") from error
    family, kind, _, _, address = found[0]
    with socket.socket(family, kind) as trial:
        if os.name != "nt":
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port that was closed a moment ago is free
        try:
            trial.bind(address)
            trial.listen()
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise PlaceError(f"--port: {port} is in use; choose another, or none to get a free one") from error
            if error.errno == errno.EACCES:
                raise PlaceError(f"--port: {port} may not be used by this user; choose one above 1023") from error
            raise PlaceError(f"--host: {host!r} is no address of this machine ({error.strerror})") from error


def _port_of_the_environment() -> int:
    value = os.environ.get("GRADIO_SERVER_PORT", "")
    if value and not (value.isdigit() and 1 <= int(value) <= 65_535):
        raise PlaceError(f"GRADIO_SERVER_PORT: must be a whole number from 1 to 65535, got {value!r}")
    return int(value or 0)


def use_own_temp_folder() -> None:
    """Have Gradio keep uploads in a folder of this user: its own, /tmp/gradio, may be another's. Raises PlaceError."""
    if os.environ.get(TEMP):
        return
    try:
        usual = Path(tempfile.gettempdir(), "gradio")
        if not _is_ours(usual):
            os.environ[TEMP] = own = tempfile.mkdtemp(prefix="gradio-")
            atexit.register(shutil.rmtree, own, ignore_errors=True)
    except OSError as error:
        raise PlaceError(f"TMPDIR: no folder for temporary files can be written ({error})") from error


def _is_ours(folder: Path) -> bool:
    try:
        folder.mkdir(exist_ok=True)
        return os.name == "nt" or (folder.stat().st_uid == os.getuid() and os.access(folder, os.W_OK | os.X_OK))
    except OSError:
        return False
