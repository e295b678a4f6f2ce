"""The catalogue of checkpoints: good ones, bad ones, none, and ones that change while the page runs."""

import json
import shutil
from dataclasses import replace

import pytest

from app.generate.previews import data_uri_of, samples_uri
from app.server.checkpoints import FAVOURITE, Catalogue
from app.texts.messages import explain
from tests.app.checkpoints import CLASS_NAMES, make_checkpoint


@pytest.fixture
def catalogue(checkpoints):
    return Catalogue(checkpoints, keep=2)


@pytest.fixture
def own(tmp_path):
    """A catalogue with one checkpoint that a test may spoil."""
    make_checkpoint(tmp_path / "one", classes=3)
    return Catalogue(tmp_path)


def test_lists_every_folder(catalogue):
    assert catalogue.names() == ["broken", "clothes", "faces", "slow"]
    assert catalogue.default() == "clothes"


def test_the_favourite_opens_the_page_where_it_can_be_used(own):
    assert own.default() == "one"
    make_checkpoint(own.folder / FAVOURITE)
    assert own.default() == FAVOURITE
    (own.folder / FAVOURITE / "model_index.json").unlink()
    assert own.default() == "one"


def test_describes_a_checkpoint(catalogue):
    clothes, faces = catalogue.checkpoint("clothes"), catalogue.checkpoint("faces")
    assert clothes.class_names == tuple(CLASS_NAMES)
    assert (clothes.num_train_timesteps, clothes.beta_schedule) == (1000, "linear")
    assert (clothes.beta_start, clothes.beta_end) == (0.0001, 0.02)
    assert clothes.image_shape == (1, 8, 8)
    assert clothes.data_name == "clothes"
    assert faces.classes == 0
    assert (faces.beta_schedule, faces.beta_start, faces.beta_end) == ("squaredcos_cap_v2", None, None)
    assert faces.image_shape == (3, 8, 8)


def test_a_bad_folder_has_one_sentence(catalogue):
    with pytest.raises(ValueError, match="EvilPipeline"):
        catalogue.checkpoint("broken")
    assert len(explain(catalogue.error_of("broken"), "zh").splitlines()) == 1


@pytest.mark.parametrize("name", ["", ".", "..", "../clothes", "clothes/../clothes", "/etc", "nobody", None, 3, [], {}])
def test_only_what_is_listed_can_be_opened(catalogue, name):
    for look in (catalogue.checkpoint, catalogue.pipeline):
        with pytest.raises(ValueError, match="there is none"):
            look(name)


def test_a_folder_with_an_impossible_name_is_listed_and_refused(own):
    own.folder.joinpath("two words").mkdir()
    assert "two words" in own.names()
    assert "letters" in str(own.error_of("two words"))


def test_hidden_folders_and_files_are_none(own):
    own.folder.joinpath(".one.partial").mkdir()
    own.folder.joinpath("file").touch()
    assert own.names() == ["one"]


def test_no_folder_is_no_checkpoints(tmp_path):
    for folder in (tmp_path, tmp_path / "missing"):
        assert Catalogue(folder).names() == []
        assert Catalogue(folder).default() is None


def test_pipelines_are_kept_and_forgotten(catalogue):
    first = catalogue.pipeline("clothes")
    assert catalogue.pipeline("clothes") is first
    catalogue.pipeline("faces")
    catalogue.pipeline("slow")
    assert catalogue.pipeline("clothes") is not first


def test_a_replaced_checkpoint_is_read_again(own):
    before = own.pipeline("one")
    shutil.rmtree(own.folder / "one")
    make_checkpoint(own.folder / "one", num_train_timesteps=50)
    assert own.checkpoint("one").num_train_timesteps == 50
    assert own.checkpoint("one").classes == 0
    assert own.pipeline("one") is not before


def test_a_mended_checkpoint_can_be_used(own):
    index = own.folder / "one" / "model_index.json"
    good = index.read_text(encoding="utf-8")
    index.write_text("{}", encoding="utf-8")
    assert own.error_of("one") is not None
    index.write_text(good, encoding="utf-8")
    assert own.error_of("one") is None


@pytest.mark.parametrize("names", [None, "abc", ["a"], [1, 2, 3], ["a", "b", ""]])
def test_classes_without_good_names_are_numbered(own, names):
    path = own.folder / "one" / "reference" / "reference.json"
    path.write_text(json.dumps({"class_names": names}), encoding="utf-8")
    assert own.checkpoint("one").class_names == ("0", "1", "2")


def test_class_names_of_training_json_are_second(own):
    own.folder.joinpath("one/reference/reference.json").write_text("[not json", encoding="utf-8")
    record = {"data": {"class_names": ["a", "b", "c"]}}
    own.folder.joinpath("one/training.json").write_text(json.dumps(record), encoding="utf-8")
    assert own.checkpoint("one").class_names == ("a", "b", "c")


def test_showcase_has_pictures_or_none(own):
    checkpoint = own.checkpoint("one")
    for uri in (samples_uri(checkpoint), data_uri_of(checkpoint)):
        assert uri.startswith("data:image/png;base64,")
    (checkpoint.folder / "samples.png").write_bytes(b"no picture")
    (checkpoint.folder / "reference" / "test.npz").write_bytes(b"no arrays")
    assert samples_uri(checkpoint) is None
    assert data_uri_of(checkpoint) is None
    nowhere = replace(checkpoint, folder=own.folder / "nowhere")
    assert samples_uri(nowhere) is None
    assert data_uri_of(nowhere) is None


def test_a_pipeline_is_made_quick_once_and_then_found_so(own, tmp_path, monkeypatch):
    monkeypatch.setenv("DDPM_LAB_CACHE", str(tmp_path / "engines"))
    made = []

    def quicken(pipeline):
        made.append(pipeline)
        return pipeline.fast().without_weights()

    catalogue = Catalogue(own.folder, quicken=quicken)
    quick = catalogue.quick_pipeline("one")
    assert quick.is_fast and quick.unet.device.type == "meta" and catalogue.pipeline("one") is quick
    again = Catalogue(own.folder, quicken=quicken).pipeline("one")
    assert again.is_fast and len(made) == 1  # its engine was kept: nothing is left to do
    assert not Catalogue(own.folder).pipeline("one").is_fast  # nobody asked for engines


def test_a_pipeline_that_cannot_be_made_quick_stays_as_it_is(own, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("DDPM_LAB_CACHE", str(tmp_path / "engines"))

    def quicken(pipeline):
        raise RuntimeError("no engine today")

    catalogue = Catalogue(own.folder, quicken=quicken)
    assert not catalogue.quick_pipeline("one").is_fast
    (said,) = caplog.records
    assert said.name == "app.server.checkpoints" and said.exc_info[0] is RuntimeError
