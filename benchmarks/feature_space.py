"""Can a checkpoint's feature space be trusted? FID and KID of damaged real pictures must rise with the damage.

python -m benchmarks.feature_space checkpoints/pixel-faces [...] [--pictures 2000]

Test pictures are damaged, and their distance to the training pictures of reference/ is measured, as it is for samples.
"""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from diffusion.console import accept_any_encoding
from diffusion.metrics.distances import fid, kid, shuffled
from diffusion.metrics.features import load_feature_space
from training.data import Pictures
from training.data.pictures import to_pillow

SEED = 0


def blurred(images: np.ndarray, radius: float) -> np.ndarray:
    """Blur by a Gaussian; radius in pixels."""
    return _each(images, lambda picture: picture.filter(ImageFilter.GaussianBlur(radius)))


def noisy(images: np.ndarray, std: float) -> np.ndarray:
    """Add Gaussian noise; std in levels of 255."""
    noise = np.random.default_rng(SEED).normal(0, std, images.shape)
    return (images + noise).round().clip(0, 255).astype(np.uint8)


def tinted(images: np.ndarray, levels: float) -> np.ndarray:
    """Brighten the first channel; levels out of 255."""
    out = images.astype(float)
    out[..., 0] += levels
    return out.round().clip(0, 255).astype(np.uint8)


def shifted(images: np.ndarray, pixels: int) -> np.ndarray:
    """Move to the right by a number of pixels; the edge is repeated."""
    return np.take(images, np.clip(np.arange(images.shape[2]) - pixels, 0, None), axis=2)


DAMAGES: dict[str, tuple[Callable, tuple]] = {
    "blur, radius in pixels": (blurred, (0.4, 0.6, 1.0, 2.0)),
    "noise, levels of 255": (noisy, (8, 16, 32, 64)),
    "brighter first channel, levels of 255": (tinted, (8, 16, 32, 64)),
    "moved to the right, pixels": (shifted, (1, 2, 4)),
}


def damaged(pictures: Pictures) -> Iterator[tuple[str, list[tuple[str, np.ndarray]]]]:
    """Yield each kind of damage, from none to strong: its name, and a list of (amount, pictures)."""
    for name, (damage, amounts) in DAMAGES.items():
        yield name, [("0", pictures.images)] + [(f"{a:g}", damage(pictures.images, a)) for a in amounts]
    if pictures.labels is not None:
        counts = range(len(set(pictures.labels.tolist())) // 2 + 1)
        yield "classes left out", [(str(k), pictures.images[pictures.labels >= k]) for k in counts]


def _each(images: np.ndarray, change: Callable[[Image.Image], Image.Image]) -> np.ndarray:
    return np.stack([np.asarray(change(to_pillow(image))).reshape(image.shape) for image in images])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", nargs="+", type=Path)
    parser.add_argument("--pictures", type=int, default=2000)
    options = parser.parse_args()
    print("| data | damage | amount | FID | KID x 1000 |\n|---|---|---|---|---|")
    for checkpoint in options.checkpoints:
        space = load_feature_space(checkpoint)
        test = Pictures.read(checkpoint / "reference" / "test.npz").take(options.pictures)
        for name, series in damaged(test):
            for amount, images in series:
                features = shuffled(space.features(images), seed=1)
                value, error = kid(shuffled(space.real, seed=0), features)
                print(
                    f"| {checkpoint.name} | {name} | {amount} | {fid(space.real, features):.3f} "
                    f"| {1000 * value:.2f} ± {1000 * error:.2f} |"
                )


if __name__ == "__main__":
    accept_any_encoding()
    main()
