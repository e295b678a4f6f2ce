"""What a user should hear about pictures before spending hours on them."""

from collections.abc import Sequence

import numpy as np

from diffusion.errors import printable
from training.data.pictures import Pictures

FEW_PICTURES = 1000  # with fewer, a DDPM trained from scratch mostly memorises its pictures
FEW_IN_A_CLASS = 10
NAMED = 5
DARK, LIGHT = 32, 224  # levels of 255: a set is nearly black, or white, if 99.9% of it lies beyond
ALIKE = 4.0  # levels: the standard deviation below which a set is nearly constant


def warnings_of(train: Pictures, class_names: Sequence[str] | None, vanished: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the warnings. vanished: folders of classes in which no picture could be read."""
    found = []
    if vanished:
        found.append(f"no picture could be read in {_listed(vanished)}, so the network gets no class of that name")
    if len(train) < FEW_PICTURES:
        found.append(
            f"only {len(train)} training pictures: from scratch, a network memorises fewer than {FEW_PICTURES}. "
            "More pictures, or --init-from a shipped checkpoint, help"
        )
    if class_names:
        counts = np.bincount(train.labels, minlength=len(class_names))
        few = [f"{printable(class_names[c])} ({counts[c]})" for c in np.argsort(counts) if counts[c] < FEW_IN_A_CLASS]
        if few:
            found.append(f"{len(few)} classes have fewer than {FEW_IN_A_CLASS} training pictures: {_listed(few)}")
    return tuple(found + _looks(train.images))


def _looks(images: np.ndarray) -> list[str]:
    counts = np.bincount(images.reshape(-1), minlength=256)
    share = np.cumsum(counts) / counts.sum()
    mean = (counts * np.arange(256)).sum() / counts.sum()
    spread = float(np.sqrt((counts * (np.arange(256) - mean) ** 2).sum() / counts.sum()))
    what = None
    if spread < ALIKE:
        what = f"nearly constant: their levels differ by {spread:.2g} of 255 (standard deviation)"
    elif share[DARK] >= 0.999:
        what = f"nearly black: 99.9% of their levels lie below {int(np.searchsorted(share, 0.999)) + 1} of 255"
    elif 1 - share[LIGHT - 1] >= 0.999:
        what = f"nearly white: 99.9% of their levels lie above {int(np.searchsorted(share, 0.001)) - 1} of 255"
    found = [f"the training pictures are {what}. Is that how they look?"] if what else []
    flat = (images == images[:, :1, :1]).all(axis=(1, 2, 3))
    if flat.any():
        found.append(f"{int(flat.sum())} of {len(images)} training pictures are a single colour")
    return found


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(map(printable, names[:NAMED]))
    return shown + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
