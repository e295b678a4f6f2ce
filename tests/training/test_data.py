import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from diffusion.pixels import fit
from tests.conftest import DATA
from training.data import DataConfig, DataError, Pictures, load_data
from training.data.named import IdxSource, load_pixel_faces, read_idx
from training.data.split import split_off_test


def gradient(width=40, height=20) -> np.ndarray:
    return np.fromfunction(lambda y, x, c: (5 * x + 3 * y + 40 * c) % 256, (height, width, 3)).astype(np.uint8)


@pytest.fixture
def folder(tmp_path):
    """Two classes of 30 pictures each, no two alike."""
    tmp_path = tmp_path / "pets"
    rng = np.random.default_rng(0)
    for name in ("cats", "dogs"):
        (tmp_path / name).mkdir(parents=True)
        for number in range(30):
            Image.fromarray(rng.integers(0, 256, (12, 10, 3), dtype=np.uint8)).save(
                tmp_path / name / f"{number:02}.png"
            )
    return tmp_path


@pytest.mark.parametrize("name", ["fashion-mnist", "mnist"])
def test_idx_data_are_the_real_pictures(name):
    data = load_data(DataConfig(data=name))
    assert data.image_shape == (28, 28, 1) and data.classes == 10
    assert (len(data.train), len(data.test)) == (512, 128)
    assert 30 < data.train.images.mean() < 100 and data.train.images.max() == 255
    assert set(data.train.labels) == set(range(10))


def test_a_missing_data_set_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setenv("DDPM_LAB_DATA", str(tmp_path))
    with pytest.raises(DataError, match=r"mnist: not found in .*make data"):
        load_data(DataConfig(data="mnist"))


def test_a_broken_idx_file_is_named(tmp_path):
    (tmp_path / "train-images-idx3-ubyte").write_bytes(b"\0\0\x08\x03" + b"\0\0\0\x05" * 3 + b"short")
    with pytest.raises(DataError, match="train-images-idx3-ubyte: holds 21 bytes"):
        read_idx(tmp_path / "train-images-idx3-ubyte")


def test_an_unknown_name_lists_what_there_is():
    with pytest.raises(DataError, match=r"'cifar' is neither a known data set .*fashion-mnist.* nor a folder"):
        load_data(DataConfig(data="cifar"))


def test_pixel_faces_are_disjoint_balanced_and_on_their_grid():
    data = load_pixel_faces()
    assert (len(data.train), len(data.test)) == (20_000, 10_000) and data.image_shape == (16, 16, 3)
    assert data.class_names[0] == "plain" and data.class_names[7] == "hat + glasses + beard"
    for split in (data.train, data.test):
        assert len(set(np.bincount(split.labels))) == 1
    pixels = np.concatenate([data.train.images, data.test.images]).reshape(30_000, -1)
    assert len(np.unique(pixels, axis=0)) == 30_000


def test_a_size_or_colour_can_be_asked_of_named_data():
    data = load_data(DataConfig(data="mnist", image_size=16, color="rgb"))
    assert data.image_shape == (16, 16, 3) and data.test.images.dtype == np.uint8


def test_folder_classes_labels_and_split(folder):
    data = load_data(DataConfig(data=str(folder), image_size=8))
    assert data.class_names == ("cats", "dogs") and data.image_shape == (8, 8, 3)
    assert (len(data.train), len(data.test)) == (54, 6)
    assert list(np.bincount(data.test.labels)) == [3, 3]
    train, test = ({image.tobytes() for image in split.images} for split in (data.train, data.test))
    assert not train & test
    again = load_data(DataConfig(data=str(folder), image_size=8))
    assert again.sha256() == data.sha256() != load_data(DataConfig(data=str(folder), image_size=8, seed=1)).sha256()


def test_a_picture_gets_the_label_of_its_folder(tmp_path):
    for name, value in (("dark", 10), ("light", 240)):
        (tmp_path / name).mkdir()
        for number in range(12):
            Image.new("RGB", (8, 8), (value, value, number)).save(tmp_path / name / f"{number}.png")
    data = load_data(DataConfig(data=str(tmp_path), image_size=8))
    for split in (data.train, data.test):
        assert np.array_equal(split.images[:, 0, 0, 0] > 128, split.labels == 1)


def test_broken_files_are_named_counted_and_left_out(folder):
    (folder / "cats" / "00.png").write_bytes(b"not a picture")
    whole = (folder / "dogs" / "03.png").read_bytes()
    (folder / "dogs" / "03.png").write_bytes(whole[: len(whole) // 2])
    data = load_data(DataConfig(data=str(folder), image_size=8))
    assert len(data.train) + len(data.test) == 58
    warning = next(text for text in data.warnings if text.startswith("broken"))
    assert warning.startswith("broken: 2 .png: ") and "00.png" in warning and "03.png" in warning
    assert data.notes[0] == "58 of 60 files used: 52 pictures to train on, 6 held out"


def test_too_few_pictures_are_warned_of(folder):
    assert any(
        "only 54 training pictures" in text for text in load_data(DataConfig(data=str(folder), image_size=8)).warnings
    )


def test_nothing_readable_or_mixed_layouts_are_errors(folder, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match="no pictures found below"):
        load_data(DataConfig(data=str(empty)))
    (empty / "notes.txt").write_text("no picture")
    with pytest.raises(DataError, match=r"no pictures found below .*; not a picture: 1 \.txt: notes\.txt"):
        load_data(DataConfig(data=str(empty)))
    Image.new("L", (8, 8)).save(folder / "loose.png")
    with pytest.raises(DataError, match=r"1 pictures lie in .* itself and 60 in sub-folders"):
        load_data(DataConfig(data=str(folder)))


def test_a_ready_split_is_kept_and_unknown_test_classes_are_told(folder, tmp_path):
    root = tmp_path / "split"
    for split, numbers in (("train", range(20)), ("test", range(20, 30))):
        for name in ("cats", "dogs"):
            (root / split / name).mkdir(parents=True)
            for number in numbers:
                (root / split / name / f"{number}.png").write_bytes((folder / name / f"{number:02}.png").read_bytes())
    data = load_data(DataConfig(data=str(root), image_size=8))
    assert (len(data.train), len(data.test)) == (40, 20)
    (root / "test" / "cats").rename(root / "test" / "birds")
    data = load_data(DataConfig(data=str(root), image_size=8))
    assert (len(data.train), len(data.test), set(data.test.labels)) == (40, 10, {1})
    assert any(w.startswith("held out, of a class without training pictures: 10 .png") for w in data.warnings)


def test_train_alone_is_no_class_and_case_does_not_matter(folder, tmp_path):
    root = tmp_path / "alone"
    (root / "Train").mkdir(parents=True)
    for name in ("cats", "dogs"):
        (root / "Train" / name).symlink_to(folder / name)  # linked folders count too
    data = load_data(DataConfig(data=str(root), image_size=8))
    assert data.class_names == ("cats", "dogs") and len(data.train) == 54
    (root / "TEST").symlink_to(folder)
    assert len(load_data(DataConfig(data=str(root), image_size=8)).test) == 60
    (root / "birds").mkdir()
    (root / "birds" / "1.png").write_bytes((folder / "cats" / "00.png").read_bytes())
    data = load_data(DataConfig(data=str(root), image_size=8))
    assert (len(data.train), len(data.test)) == (60, 60)
    assert any(w == "outside of the training and the held-out folder: 1 .png: birds/1.png" for w in data.warnings)


def test_test_pictures_without_classes_are_left_out_and_told(folder, tmp_path):
    root = tmp_path / "split"
    root.mkdir()
    (root / "train").symlink_to(folder)
    (root / "test").symlink_to(folder / "cats")
    data = load_data(DataConfig(data=str(root), image_size=8))
    assert (len(data.train), len(data.test)) == (54, 6)  # the usual share of the training pictures is held out
    assert any(w.startswith("held out, but in no folder of a class: 30 .png") for w in data.warnings)


@pytest.mark.parametrize("content", [b"", b"not a picture", None], ids=["empty", "text", "cut in the middle"])
def test_a_class_whose_files_are_all_broken_is_warned_of_and_is_none(folder, content):
    for path in (folder / "cats").iterdir():
        path.write_bytes(path.read_bytes()[:200] if content is None else content)
    data = load_data(DataConfig(data=str(folder), image_size=8))
    assert data.class_names == ("dogs",) and set(data.train.labels) == {0}
    assert "no picture could be read in cats, so the network gets no class of that name" in data.warnings


def test_grey_is_found_by_itself(tmp_path):
    for number in range(20):
        Image.new("RGB" if number % 2 else "L", (9, 9), (number,) * 3 if number % 2 else number).save(
            tmp_path / f"{number}.png"
        )
    assert load_data(DataConfig(data=str(tmp_path), image_size=8)).image_shape == (8, 8, 1)
    assert load_data(DataConfig(data=str(tmp_path), image_size=8, color="rgb")).image_shape == (8, 8, 3)


def test_twins_never_stand_on_both_sides_of_the_split():
    rng = np.random.default_rng(0)
    different = rng.integers(0, 256, (20, 4, 4, 1), dtype=np.uint8)
    train, test = split_off_test(Pictures(np.repeat(different, 5, axis=0)), 0.3, seed=0)
    assert len(train) + len(test) == 100
    assert not {i.tobytes() for i in train.images} & {i.tobytes() for i in test.images}


def test_fit_lays_alpha_over_white():
    picture = Image.fromarray(np.dstack([np.full((8, 8, 3), 100, np.uint8), np.full((8, 8), 51, np.uint8)]))
    assert np.all(fit(picture, 8, "RGB") == round(100 * 0.2 + 255 * 0.8))


def test_fit_turns_upright_by_exif():
    upright = gradient()
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held so that the picture must be turned by 90 degrees clockwise
    Image.fromarray(np.rot90(upright)).save(file, "png", exif=exif)
    assert np.array_equal(fit(Image.open(file), 20, "RGB"), upright[:, 10:30])


def test_fit_crops_the_centre_and_keeps_pixels_that_need_no_resizing():
    assert np.array_equal(fit(Image.fromarray(gradient()), 20, "RGB"), gradient()[:, 10:30])


def test_fit_takes_16_bits_palette_and_cmyk():
    deep = Image.fromarray(np.full((8, 8), 257 * 77, np.uint16))
    assert np.all(fit(deep, 8, "L") == 77)
    assert np.all(fit(Image.fromarray(np.full((8, 8), 300, np.uint16)), 8, "L") == round(300 / 1023 * 255))  # 10 bits
    assert np.all(fit(Image.fromarray(np.full((8, 8), 0.5, np.float32)), 8, "L") == 128)
    palette = Image.new("P", (8, 8), 0)
    palette.putpalette([10, 20, 30] + [0] * 765)
    assert np.all(fit(palette, 8, "RGB") == [10, 20, 30])
    assert fit(Image.new("CMYK", (8, 8)), 8, "RGB").shape == (8, 8, 3)


def test_npz_round_trip_is_exact_reproducible_and_plain_numpy(tmp_path):
    pictures = load_data(DataConfig(data="mnist")).test
    pictures.save(tmp_path / "a.npz")
    pictures.save(tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert Pictures.read(tmp_path / "a.npz").sha256() == pictures.sha256()
    assert np.array_equal(np.load(tmp_path / "a.npz", allow_pickle=False)["images"], pictures.images)


def test_a_hub_data_set_through_the_datasets_library(folder):
    pytest.importorskip("datasets")
    data = load_data(DataConfig(data=f"hub:{folder}", image_size=8))
    assert data.class_names == ("cats", "dogs") and len(data.train) + len(data.test) == 60
    plain = load_data(DataConfig(data=str(folder), image_size=8))
    both = [np.concatenate([found.train.images, found.test.images]).reshape(60, -1) for found in (data, plain)]
    assert np.array_equal(*(np.unique(pixels, axis=0) for pixels in both))


def hub_rows(folder, features, rows):
    """A local data set as the Hub would give it."""
    import datasets

    table = datasets.Dataset.from_dict(
        {name: [row[name] for row in rows] for name in features}, datasets.Features(features)
    )
    folder.mkdir()
    table.to_parquet(folder / "train.parquet")
    return f"hub:{folder}"


def test_hub_rows_that_are_missing_or_odd(tmp_path):
    import datasets

    file = io.BytesIO()
    Image.fromarray(gradient(20, 20)).save(file, "png")
    good = {"bytes": file.getvalue(), "path": None}
    image, text = datasets.Image(), datasets.Value("string")
    rows = [{"image": good, "kind": f"k{number % 2}"} for number in range(10)]
    rows += [{"image": None, "kind": "k0"}, {"image": {"bytes": b"no picture", "path": None}, "kind": "k1"}]
    for number, row in enumerate(rows[:10]):
        varied = gradient(20, 20) + number
        file = io.BytesIO()
        Image.fromarray(varied.astype(np.uint8)).save(file, "png")
        row["image"] = {"bytes": file.getvalue(), "path": None}
    data = load_data(
        DataConfig(data=hub_rows(tmp_path / "a", {"image": image, "kind": text}, rows), label_column="kind")
    )
    assert data.class_names == ("k0", "k1") and len(data.train) + len(data.test) == 10
    assert data.image_shape == (20, 20, 3)  # their own size, as all are equal squares
    assert any(w == "missing: 1 rows: row 10 (there is no picture)" for w in data.warnings)
    assert any(w.startswith("broken: 1 rows: row 11 (") for w in data.warnings)
    assert data.notes[0] == "10 of 12 rows used: 9 to train on, 1 held out"
    rows[3]["kind"] = None
    with pytest.raises(DataError, match="no single label in row 3"):
        load_data(DataConfig(data=hub_rows(tmp_path / "b", {"image": image, "kind": text}, rows), label_column="kind"))
    with pytest.raises(DataError, match="'kind' does not hold one picture a row"):
        load_data(DataConfig(data=f"hub:{tmp_path / 'b'}", image_column="kind"))
    with pytest.raises(DataError, match="has no column 'weight'"):
        load_data(DataConfig(data=f"hub:{tmp_path / 'b'}", label_column="weight"))


def test_a_hub_data_set_that_cannot_be_had_is_one_error():
    with pytest.raises(DataError, match="nobody/nothing: could not be loaded"):
        load_data(DataConfig(data="hub:nobody/nothing"))


def test_named_data_fall_back_to_the_hub(folder, monkeypatch, tmp_path):
    monkeypatch.setenv("DDPM_LAB_DATA", str(tmp_path / "none"))
    source = IdxSource("pets", ("pets",), "Get pets.", str(folder), ("cats", "dogs"), "MIT", "pets")
    assert len(source.load().train) == 54
    with pytest.raises(DataError, match=r"pets: not found in .*none.pets, and the Hub's .* Get pets\."):
        replace(source, hub_id="nobody/nothing").load()


def test_the_test_subsets_are_where_the_tests_look():
    assert {path.name for path in DATA.iterdir() if path.is_dir()} >= {"fashion-mnist", "mnist"}
