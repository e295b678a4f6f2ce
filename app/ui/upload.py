"""A file that a visitor has dropped, as the browser sent it."""

from pathlib import Path
from typing import Any

from gradio.data_classes import GradioRootModel
from gradio.utils import get_upload_folder

from diffusion.errors import FieldError
from diffusion.sharing.recipe import MAX_PICTURE_BYTES


class AsSent(GradioRootModel):
    """Whatever was sent for the file, for `uploaded` to look at: Gradio's own check ends in an error without words."""

    root: Any = None


def uploaded(sent) -> bytes:
    """The file that a browser uploaded, from what its component sends. Raises FieldError for anything else.

    Only what lies in the folder of uploads is read, whatever path was sent.
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
