"""Options of the app, from its command line."""

import argparse
from dataclasses import dataclass
from pathlib import Path

from diffusion.console import accept_any_encoding

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Options:
    """The flags of app.py.

    max_cost: pictures that can go through the network in one request (steps x pictures, twice that under guidance).
    engine: "fast" computes the network on a GPU or by ONNX Runtime as soon as it can, "torch" by PyTorch on the CPU.
    host, port, threads: None leaves the decision to the environment, Gradio and torch.
    """

    checkpoints: Path = ROOT / "checkpoints"
    max_cost: int = 40_000
    max_images: int = 64
    queue_size: int = 20
    engine: str = "fast"
    host: str | None = None
    port: int | None = None
    threads: int | None = None


def parse(arguments: list[str]) -> Options:
    """Parse a command line. Exits with a sentence on standard error if an option is wrong."""
    accept_any_encoding()
    default = Options()
    parser = argparse.ArgumentParser(prog="app.py", description="DDPM Lab: the page.")
    parser.add_argument(
        "--checkpoints",
        type=_folder,
        default=default.checkpoints,
        metavar="FOLDER",
        help="folder with a folder for each checkpoint (default: checkpoints/ beside app.py)",
    )
    parser.add_argument(
        "--max-cost",
        type=_number(1, 10**9),
        default=default.max_cost,
        metavar="N",
        help="steps x pictures that one request may ask for; both halves of guidance count (default: %(default)s)",
    )
    parser.add_argument(
        "--max-images",
        type=_number(1, 1024),
        default=default.max_images,
        metavar="N",
        help="pictures that one request may ask for (default: %(default)s)",
    )
    parser.add_argument(
        "--queue-size",
        type=_number(1, 10_000),
        default=default.queue_size,
        metavar="N",
        help="requests that may wait for the network at once (default: %(default)s)",
    )
    parser.add_argument(
        "--engine",
        choices=("fast", "torch"),
        default=default.engine,
        help="fast: a GPU or ONNX Runtime, as soon as it is ready; torch: PyTorch on the CPU (default: %(default)s)",
    )
    parser.add_argument("--host", metavar="NAME", help="address to listen on; 0.0.0.0 is all (default: this machine)")
    parser.add_argument("--port", type=_number(1, 65_535), metavar="N", help="port (default: the first free from 7860)")
    parser.add_argument("--threads", type=_number(1, 1024), metavar="N", help="threads of the network (default: cores)")
    return Options(**vars(parser.parse_args(arguments)))


def _folder(text: str) -> Path:
    folder = Path(text).resolve()
    if not folder.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is not a folder")
    if (folder / "model_index.json").is_file() or (folder / "unet").is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is a checkpoint itself; name the folder that it lies in")
    return folder


def _number(least: int, most: int):
    def whole_number(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = None
        if number is None or not least <= number <= most:
            raise argparse.ArgumentTypeError(f"must be a whole number from {least} to {most}, got {text!r}")
        return number

    return whole_number
