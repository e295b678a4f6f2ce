"""Read a file that a visitor has dropped on the page."""

from pathlib import Path
from typing import Any

from gradio.data_classes import GradioRootModel
from gradio.utils import get_upload_folder

from diffusion.errors import FieldError
from diffusion.sharing.recipe import MAX_PICTURE_BYTES


class AsSent(GradioRootModel):
    """The value that was sent for a file, which `uploaded` checks: Gradio's own check fails without a message."""

    root: Any = None


def uploaded(sent) -> bytes:
    """Return an uploaded file, at most MAX_PICTURE_BYTES + 1 bytes of it, from the value that its component sends.

    Only files in Gradio's upload folder are read, whatever path was sent. Raises FieldError for anything else.
    """
    try:
        path = Path(sent["path"]).resolve()
        is_upload = path.is_relative_to(Path(get_upload_folder()).resolve()) and path.is_file()
    except (TypeError, KeyError, OSError, ValueError):
        is_upload = False
    if not is_upload:
        raise FieldError("picture", "no_png")
    with path.open("rb") as file:
        return file.read(MAX_PICTURE_BYTES + 1)
