"""Starts `python app.py` in its own process, with local settings or with a Space's variables."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

from gradio_client import Client

REPOSITORY = Path(__file__).resolve().parents[2]
START_SECONDS = 120
SPACE = {
    "SYSTEM": "spaces",
    "SPACE_ID": "me/x",
    "GRADIO_SERVER_NAME": "127.0.0.1",
    "GRADIO_NUM_PORTS": "1",
    "GRADIO_CACHE_EXAMPLES": "true",
    "GRADIO_SSR_MODE": "True",
}


def client_of(address: str) -> Client:
    """A client of a running app, as patient as the tests: a busy machine is slow, not wrong."""
    return Client(address, verbose=False, download_files=False, httpx_kwargs={"timeout": START_SECONDS})


class Address(str):
    """Of a running app, which knows its process."""

    pid: int


@contextmanager
def running_app(
    checkpoints: Path, folder: Path, *flags: str, variables: dict[str, str] | None = None, python: str = sys.executable
):
    """The address of the app, on a free port, over these checkpoints; it ends with the block. Log: folder/app.log."""
    port = free_port()
    environment = (
        os.environ
        | (variables or {})
        | {
            "GRADIO_SERVER_PORT": str(port),
            "GRADIO_ANALYTICS_ENABLED": "False",
            "GRADIO_TEMP_DIR": str(folder / "gradio"),
            "HF_HUB_OFFLINE": "1",
            "NO_PROXY": "localhost,127.0.0.1",
        }
    )
    command = [python, "app.py", "--checkpoints", str(checkpoints), "--threads", "1", *flags]
    log = folder / "app.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=output, stderr=subprocess.STDOUT)
    address = Address(f"http://127.0.0.1:{port}")
    address.pid = process.pid
    try:
        wait_until_up(address, process, log)
        yield address
    finally:
        process.terminate()
        process.wait(timeout=30)


def wait_until_up(address: str, process: subprocess.Popen, log: Path) -> None:
    """Return when the app answers. Raises AssertionError, with its log, where it ends or takes too long."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{address}/gradio_api/info", timeout=5):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.2)
    raise AssertionError(f"the app did not come up:\n{log.read_text(encoding='utf-8', errors='replace')}")


def free_port() -> int:
    """A port that nobody uses at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
