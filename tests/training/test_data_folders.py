"""Folders as they come from cameras, downloads and other systems: every file is used, or counted by its reason."""

import io
import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diffusion.errors import FieldError
from tests.training.tiny import REPOSITORY, command, tiny_config
from training.data import DataConfig, DataError, DataSet, load_data
from training.data.finding import find_files
from training.data.tally import Tally
from training.states import checkpoint_folder


def picture(path: Path, number: int = 0, format: str | None = None, size=(12, 10)) -> Path:
    """Save a picture that is like no other number's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, format=format)
    return path


def pictures(folder: Path, count: int, suffix: str = ".png", first: int = 0, format: str | None = None) -> None:
    for number in range(first, first + count):
        picture(folder / f"{number}{suffix}", number, format)


def load(folder: Path, **fields) -> DataSet:
    return load_data(DataConfig(data=str(folder), image_size=8, **fields))


def files_below(folder: Path) -> int:
    return sum(len(names) for _, _, names in os.walk(folder))


def counted(data: DataSet) -> tuple[int, int]:
    """The numbers of files used, and of all files, as the first note tells them."""
    words = data.notes[0].split()
    return int(words[0]), int(words[2])


@pytest.mark.parametrize(
    "suffix, format",
    [
        (".jfif", "JPEG"), (".JPG", "JPEG"), (".ppm", "PPM"), (".pgm", "PPM"), ("", "PNG"), (".png", "JPEG"),
        (".dat", "WEBP"), (".tga", "TGA"), (".jp2", "JPEG2000"), (".qoi", "QOI"), (".tiff", "TIFF"), (".apng", "PNG"),
    ],
)  # fmt: skip
def test_content_decides_not_the_suffix(tmp_path, suffix, format):
    pictures(tmp_path, 12, suffix, format=format)
    data = load(tmp_path)
    assert len(data.train) + len(data.test) == 12 and counted(data) == (12, 12)


def test_what_phones_save_is_read(tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.register_heif_opener()
    pictures(tmp_path, 6, ".HEIC", format="HEIF")
    pictures(tmp_path, 6, ".avif", first=6)
    assert counted(load(tmp_path)) == (12, 12)


def test_without_the_plug_in_the_sentence_says_what_to_install(tmp_path, monkeypatch):
    from training.data import reading

    monkeypatch.setattr(reading, "FORMATS", tuple(name for name in reading.FORMATS if name != "HEIF"))
    reading._formats.cache_clear()
    pictures(tmp_path, 5)
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    (tmp_path / "no suffix").write_bytes(b"\0\0\0\x18ftypmif1" + bytes(100))
    wanted = "HEIC, which needs pip install pillow-heif: 1 .heic, 1 without a suffix: a.heic; no suffix"
    assert wanted in load(tmp_path).warnings
    reading._formats.cache_clear()


def test_every_file_is_used_or_counted(tmp_path):
    pictures(tmp_path / "cats", 5)
    pictures(tmp_path / "dogs", 5, first=5)
    (tmp_path / "cats" / "cut.jpg").write_bytes(picture(tmp_path / "x.jpg", 20).read_bytes()[:300])
    (tmp_path / "x.jpg").unlink()
    (tmp_path / "cats" / "empty.gif").touch()
    (tmp_path / "dogs" / "notes.txt").write_text("woof")
    (tmp_path / "labels.csv").write_text("0,1")
    (tmp_path / "dogs" / "raw.CR2").write_bytes(bytes(100))
    (tmp_path / "dogs" / "film.mp4").write_bytes(bytes(100))
    picture(tmp_path / ".thumbnails" / "a" / "0.png")
    picture(tmp_path / "cats" / "@eaDir" / "0.png" / "SYNOPHOTO_THUMB_M.png")
    picture(tmp_path / "__MACOSX" / "cats" / "0.png")
    (tmp_path / "cats" / "._0.png").write_bytes(b"\0\5\x16\7")
    (tmp_path / "dogs" / "Thumbs.db").write_bytes(b"\xd0\xcf")
    (tmp_path / "dogs" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    data = load(tmp_path)
    assert data.class_names == ("cats", "dogs")
    assert counted(data) == (10, files_below(tmp_path)) == (10, 22)
    told = data.notes + data.warnings
    for line in (
        "broken: 1 .jpg, 1 .gif: ",
        "not a picture: 1 .txt, 1 .csv: dogs/notes.txt; labels.csv",
        "of a kind that is not read: 1 .mp4, 1 .cr2: ",
        "hidden: 2 .png: ",
        "made by the system: 2 .png, 1 .db: ",
        "a link that leads nowhere: 1 .png: dogs/gone.png",
    ):
        assert sum(said.startswith(line) for said in told) == 1, (line, told)
    assert any(said.startswith("broken") for said in data.warnings)


@pytest.mark.parametrize("target", [".", "..", "../../inside", "../.."])
def test_a_link_to_a_folder_around_it_adds_nothing(tmp_path, target):
    folder = tmp_path / "a" / "pictures"
    pictures(folder / "inside" / "deep", 20)
    (folder / "inside" / "deep" / "loop").symlink_to(target)
    data = load(folder)
    assert counted(data) == (20, 21) and len(data.train) + len(data.test) == 20
    assert any(said.startswith("a link to files already counted") for said in data.warnings)


def test_links_are_followed_once_each_even_in_circles_outside(tmp_path):
    folder, one, two = tmp_path / "pictures", tmp_path / "one", tmp_path / "two"
    pictures(one, 5)
    pictures(two, 5, first=5)
    (one / "to two").symlink_to(two)
    (two / "to one").symlink_to(one)
    folder.mkdir()
    (folder / "a class").symlink_to(one)
    found = find_files(folder, Tally())
    assert len(found) == 15  # one; from it two; from there one again, whose link has been followed
    (two / "to one").unlink()
    picture(folder / "other" / "1.png", 30)
    (folder / "again").symlink_to(folder / "other")
    (folder / "file.png").symlink_to(folder / "other" / "1.png")
    tally = Tally()
    assert len(find_files(folder, tally)) == 11 and tally.total == 2


def test_what_is_no_file_is_never_opened(tmp_path):
    pictures(tmp_path, 5)
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "device.png").symlink_to("/dev/zero")
    data = load(tmp_path)
    assert "neither a file nor a folder: 2 .png: pipe.png; device.png" in data.warnings


def test_pictures_too_large_to_decode_are_counted(tmp_path, monkeypatch):
    pictures(tmp_path, 5)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    picture(tmp_path / "large.png", 9, size=(40, 40))
    picture(tmp_path / "larger.png", 9, size=(80, 80))  # Pillow itself refuses it
    (line,) = [said for said in load(tmp_path).warnings if said.startswith("too large: 2 .png: ")]
    assert "large.png (40 x 40 pixels)" in line


def test_a_folder_that_may_not_be_read_is_told(tmp_path, monkeypatch):
    pictures(tmp_path / "open", 5)
    (tmp_path / "closed").mkdir()
    scandir = os.scandir

    def refuse(path):
        if Path(path).name == "closed":  # root reads everything, so its mode would not do
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert "a folder that cannot be read: 1 folder: closed (Permission denied)" in load(tmp_path).warnings


@pytest.mark.parametrize("train", ["train", "Train", "TRAINING"])
@pytest.mark.parametrize("test", ["test", "val", "Valid", "validation", "TESTING"])
def test_the_usual_layouts_are_taken_as_they_are_meant(tmp_path, train, test):
    for split, count, first in ((train, 12, 0), (test, 4, 20)):
        pictures(tmp_path / split / "cats", count, first=first)
        pictures(tmp_path / split / "dogs", count, first=first + 100)
    pictures(tmp_path / "__MACOSX" / train / "cats", 3)
    (tmp_path / "README.md").write_text("pets")
    data = load(tmp_path)
    assert data.class_names == ("cats", "dogs") and (len(data.train), len(data.test)) == (24, 8)
    assert counted(data) == (32, 36)


def test_a_second_held_out_folder_and_what_lies_beside_is_named_and_left_out(tmp_path):
    for split, count, first in (("train", 12, 0), ("val", 3, 20), ("test", 4, 30), ("extra", 5, 40)):
        pictures(tmp_path / split / "cats", count, first=first)
    picture(tmp_path / "cover.png", 99)
    data = load(tmp_path)
    assert (len(data.train), len(data.test)) == (12, 4) and counted(data) == (16, 25)
    assert any(said.startswith("in a second held-out folder: 3 .png: val/cats/20.png") for said in data.warnings)
    assert any(said.startswith("outside of the training and the held-out folder: 6 .png") for said in data.warnings)


def test_a_zip_that_made_a_folder_of_its_own_is_looked_into(tmp_path):
    for split, count, first in (("train", 12, 0), ("test", 4, 20)):
        for number, name in enumerate(("cats", "dogs")):
            pictures(tmp_path / "archive" / "pets" / split / name, count, first=first + 100 * number)
    data = load(tmp_path)
    assert data.class_names == ("cats", "dogs") and (len(data.train), len(data.test)) == (24, 8)
    assert "the pictures are those in archive/pets" in data.notes


def test_a_class_may_be_called_train(tmp_path):
    for number, name in enumerate(("bus", "car", "train")):
        pictures(tmp_path / name, 10, first=100 * number)
    assert load(tmp_path).class_names == ("bus", "car", "train")


def test_pictures_of_the_training_folder_alone_are_split(tmp_path):
    pictures(tmp_path / "train", 20)
    data = load(tmp_path)
    assert data.class_names is None and (len(data.train), len(data.test)) == (18, 2)


def test_classes_that_vanish_or_are_nearly_empty_are_warned_of(tmp_path):
    pictures(tmp_path / "cats", 30)
    pictures(tmp_path / "dogs", 3, first=40)
    for number in range(30):
        (tmp_path / "birds").mkdir(exist_ok=True)
        (tmp_path / "birds" / f"{number}.heic").write_bytes(b"no picture")
    data = load(tmp_path)
    assert data.class_names == ("cats", "dogs")
    assert "no picture could be read in birds, so the network gets no class of that name" in data.warnings
    assert "1 classes have fewer than 10 training pictures: dogs (3)" in data.warnings


def test_held_out_pictures_of_a_class_that_vanished_are_counted(tmp_path):
    for split, count in (("train", 12), ("test", 4)):
        for number, name in enumerate(("cats", "dogs")):
            pictures(tmp_path / split / name, count, first=100 * number + 50 * (split == "test"))
    for path in (tmp_path / "train" / "cats").iterdir():
        path.write_bytes(path.read_bytes()[:-40])
    data = load(tmp_path)
    assert data.class_names == ("dogs",) and (len(data.train), len(data.test)) == (12, 4)
    assert counted(data) == (16, 32) and set(data.test.labels) == {0}
    assert any(said.startswith("held out, of a class without training pictures: 4 .png") for said in data.warnings)


def animation(path: Path, frames: int, first: int) -> None:
    made = [Image.new("RGB", (9, 9), (first + number, 0, 100)) for number in range(frames)]
    made[0].save(path, save_all=True, append_images=made[1:], **({"lossless": True} if path.suffix == ".webp" else {}))


@pytest.mark.parametrize("suffix", [".gif", ".tiff", ".png", ".webp"])
def test_files_of_many_frames_give_the_first_or_each_and_it_is_told(tmp_path, suffix):
    for number in range(8):
        animation(tmp_path / f"{number}{suffix}", 5, 20 * number)
    first = load(tmp_path)
    assert len(first.train) + len(first.test) == 8
    assert "8 files hold 40 frames: the first of each is used; --frames all takes each" in first.notes
    every = load(tmp_path, frames="all", test_fraction=0.25)
    assert len(every.train) + len(every.test) == 40
    assert "8 files hold 40 frames: each is a picture" in every.notes

    def of_file(pictures) -> set:
        return set(np.round(pictures.images[:, 0, 0, 0] / 20 - 0.1).astype(int))

    assert len(of_file(every.test)) == 2 and not of_file(every.train) & of_file(every.test)


NAMES = [
    b"\xb9\xb7", b"\xc3\xa8\xff", "猫".encode(), "👩\u200d🚀".encode(), b"new\nline", b'quotes"\'`', b"x" * 240,
    "\u202eright to left".encode(), b"<b>bold", b"| a | table |", b" ", b"-rf", b"$HOME", b"\x7f\x01",
]  # fmt: skip


def test_names_in_any_bytes_give_names_that_can_be_written(tmp_path):
    folder = tmp_path / "pictures"
    for number, name in enumerate(NAMES):
        place = os.path.join(os.fsencode(folder), name)
        os.makedirs(place)
        for i in range(3):
            file = io.BytesIO()
            Image.fromarray(np.full((8, 8), 3 * number + i, np.uint8)).save(file, "PNG")
            Path(os.fsdecode(os.path.join(place, b"%d.png" % i))).write_bytes(file.getvalue())
    data = load(folder)
    assert len(set(data.class_names)) == len(NAMES) == data.classes
    for name in data.class_names:
        name.encode("utf-8")
        assert "\n" not in name and "\u202e" not in name and 0 < len(name) <= 240
    assert {"\\xb9\\xb7", "猫", "new\\nline", "<b>bold"} <= set(data.class_names)
    for text in (*data.notes, *data.warnings, data.source, data.name):
        text.encode("utf-8")


SPLITS = [("train/train", "test/test"), ("train/images", "test/images"), ("training_set", "test_set")]


@pytest.mark.parametrize("train, test", [*SPLITS, ("Train_Set/img", "val_set/img")])
@pytest.mark.parametrize("classes", [(), ("cats", "dogs")])
def test_a_folder_of_all_inside_of_a_split_is_no_class(tmp_path, train, test, classes):
    for split, count, first in ((train, 12, 0), (test, 4, 30)):
        for number, name in enumerate(classes or (".",)):
            pictures(tmp_path / split / name, count, first=first + 100 * number)
    data = load(tmp_path)
    assert data.class_names == (classes or None)
    assert (len(data.train), len(data.test)) == (12 * max(1, len(classes)), 4 * max(1, len(classes)))


@pytest.mark.parametrize("train", ["empty", "texts", "broken", "missing"])
def test_pictures_to_test_with_are_never_trained_on(tmp_path, train):
    for number, name in enumerate(("cats", "dogs")):
        pictures(tmp_path / "test" / name, 6, first=100 * number)
        pictures(tmp_path / "val" / name, 6, first=100 * number + 50)
    if train != "missing":
        (tmp_path / "train").mkdir()
    if train in ("texts", "broken"):
        (tmp_path / "train" / {"texts": "a.txt", "broken": "a.png"}[train]).write_bytes(b"none")
    with pytest.raises(DataError, match=r"holds pictures to test with \(test, val\), and none to train on"):
        load(tmp_path)


def test_a_hidden_store_that_links_lead_into_is_read_through_them(tmp_path):
    for number, name in enumerate(("cats", "dogs")):
        pictures(tmp_path / ".store" / name, 6, first=100 * number)
        (tmp_path / name).symlink_to(tmp_path / ".store" / name)
    data = load(tmp_path)
    assert data.class_names == ("cats", "dogs") and len(data.train) + len(data.test) == 12


def test_what_vanishes_during_the_look_is_counted(tmp_path, monkeypatch):
    pictures(tmp_path, 5)
    (tmp_path / "gone.png").touch()
    scandir = os.scandir

    class Entry:
        def __init__(self, entry):
            self.name, self.entry = entry.name, entry

        def stat(self, follow_symlinks):
            if self.name == "gone.png":
                raise FileNotFoundError(2, "No such file", self.name)
            return self.entry.stat(follow_symlinks=follow_symlinks)

    class Listing(list):
        def close(self):
            pass

    monkeypatch.setattr(os, "scandir", lambda path: Listing(map(Entry, scandir(path))))
    assert "cannot be read: 1 .png: gone.png" in load(tmp_path).warnings


def test_a_cameras_raw_file_is_not_its_preview(tmp_path):
    pictures(tmp_path, 5)
    picture(tmp_path / "DSC_1.NEF", 50, "TIFF")
    told = "of a kind that is not read: 1 .nef: DSC_1.NEF (a camera"
    assert any(said.startswith(told) for said in load(tmp_path).warnings)


@pytest.mark.parametrize("suffix", [".txt", ".md"])
def test_a_text_that_begins_like_a_picture_is_none(tmp_path, suffix):
    pictures(tmp_path, 5)
    for number, text in enumerate(("P1 is a point", "P3 is another", "BM is a shop", "GIF89a or not")):
        (tmp_path / f"{number}{suffix}").write_text(text)
    data = load(tmp_path)
    assert any(note.startswith(f"not a picture: 4 {suffix}: ") for note in data.notes)


@pytest.mark.parametrize("encoding", ["ascii"])
def test_a_training_ends_with_its_checkpoint_whatever_the_names_and_the_output(tmp_path, encoding):
    folder = tmp_path / "画 \U0001f408 Köpfe"
    for name in ("猫\udcff", "chien é"):
        pictures(folder / name, 12, first=len(name))
    config = tiny_config(
        tmp_path, data=str(folder), image_size=8, steps=2, checkpoints_dir=str(tmp_path / "模型 \U0001f408")
    )
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "PYTHONIOENCODING": encoding, "LC_ALL": "C"}
    done = subprocess.run(command(config), cwd=REPOSITORY, env=environment, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr
    checkpoint = checkpoint_folder(config)
    record = json.loads((checkpoint / "training.json").read_text(encoding="utf-8"))
    assert record["data"]["class_names"] == ["chien é", "猫\\xff"]
    assert b"exported to " in done.stdout and (checkpoint / "unet").is_dir()


def test_a_path_that_utf_8_cannot_write_is_refused_before_the_first_step(tmp_path):
    with pytest.raises(FieldError, match=r"^data: must be a text that UTF-8 can write .*rename the file or folder"):
        DataConfig(data=str(tmp_path / "\udcb9"))
