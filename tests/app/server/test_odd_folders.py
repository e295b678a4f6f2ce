"""Folders that nobody meant as checkpoints, beside a good one: each is refused by itself, and nothing else notices."""

import gc
import json
import os
import shutil
import threading
import time
import tracemalloc
import urllib.request

import pytest

from app.server.checkpoints import Catalogue
from app.server.keyed_locks import KeyedLocks
from app.texts.messages import explain
from diffusion.errors import AxisError, FieldError, PartError, together
from tests.app.checkpoints import make_checkpoint
from tests.app.running import running_app

LOOKS = 300


@pytest.fixture
def catalogue(tmp_path):
    make_checkpoint(tmp_path / "good", classes=3)
    return Catalogue(tmp_path)


def change(file, **values):
    file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")) | values), encoding="utf-8")


def no_object(folder):
    (folder / "model_index.json").write_text("{}")


def no_variance_type(folder):
    change(folder / "scheduler" / "scheduler_config.json", variance_type=7)


def link_to_a_device(folder):
    (folder / "unet" / "config.json").unlink()
    (folder / "unet" / "config.json").symlink_to("/dev/zero")


def pipe(folder):
    (folder / "model_index.json").unlink()
    os.mkfifo(folder / "model_index.json")


def empty(folder):
    shutil.rmtree(folder)
    folder.mkdir()


def link_to_nowhere(folder):
    shutil.rmtree(folder)
    folder.symlink_to(folder.parent / "nowhere")


def file_for_a_folder(folder):
    shutil.rmtree(folder / "unet")
    (folder / "unet").write_text("a file")


def deep_json(folder):
    (folder / "scheduler" / "scheduler_config.json").write_text("[" * 10_000)


def no_weights(folder):
    (folder / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}      ")


ODD = (no_object, no_variance_type, link_to_a_device, pipe, empty, file_for_a_folder, deep_json, no_weights)


def spoiled(catalogue, spoil, name="odd"):
    make_checkpoint(catalogue.folder / name)
    spoil(catalogue.folder / name)
    return name


@pytest.mark.parametrize("spoil", ODD)
def test_an_odd_folder_is_refused_in_one_sentence_and_the_good_one_works(catalogue, spoil):
    name = spoiled(catalogue, spoil)
    assert catalogue.names() == ["good", name]
    for language in ("en", "zh"):
        said = explain(catalogue.error_of(name), language)
        assert len(said.splitlines()) == 1 and "Traceback" not in said
    for look in (catalogue.checkpoint, catalogue.pipeline, catalogue.quick_pipeline, catalogue.feature_space):
        with pytest.raises(FieldError):
            look(name)
    assert catalogue.default() == "good" and catalogue.pipeline("good").classes == 3


def test_a_link_to_nowhere_is_no_folder(catalogue):
    spoiled(catalogue, link_to_nowhere)
    assert catalogue.names() == ["good"]


@pytest.mark.parametrize("raw", [b"caf\xe9", b"\xff\xfe", b"\xed\xa0\x80", "中文".encode("gbk")])
def test_a_name_in_other_bytes_is_shown_with_escapes_and_refused(catalogue, raw):
    os.mkdir(os.path.join(os.fsencode(catalogue.folder), raw))
    odd, good = sorted(catalogue.names(), key=lambda name: name == "good")
    assert good == "good" and "\\x" in odd
    odd.encode("utf-8")
    assert "letters" in str(catalogue.error_of(odd))


@pytest.mark.parametrize("name", ['a"b', "<b>x", "a\nb", "\u202eabc", "😀", "a b", "-x", "a" * 200], ids=ascii)
def test_a_name_of_other_characters_is_refused(catalogue, name):
    (catalogue.folder / name).mkdir()
    assert name in catalogue.names()
    assert isinstance(catalogue.error_of(name), FieldError)
    assert catalogue.default() == "good"


@pytest.mark.parametrize("names", [["a", "b", "\ud800"], ["a", "b", "\udfff c"]], ids=ascii)
def test_class_names_with_half_characters_are_numbered(catalogue, names):
    change(catalogue.folder / "good" / "reference" / "reference.json", class_names=names)
    assert catalogue.checkpoint("good").class_names == ("0", "1", "2")


@pytest.mark.parametrize("data", ["\ud800", "", 3, None], ids=ascii)
def test_a_data_sets_name_that_cannot_be_shown_is_the_folders(catalogue, data):
    change(catalogue.folder / "good" / "reference" / "reference.json", data=data)
    assert catalogue.checkpoint("good").data_name == "good"


# What a refusal leaves behind ----------------------------------------------------------------------------------------


def frames_of(error: BaseException) -> int:
    count, trace = 0, error.__traceback__
    while trace is not None:
        count, trace = count + 1, trace.tb_next
    return count


def test_looking_again_and_again_at_a_bad_folder_takes_no_memory(catalogue):
    name = spoiled(catalogue, no_object)
    seen = set()

    def look():
        large = bytearray(10_000)  # what a visitor sent: a kept traceback would hold it
        try:
            catalogue.checkpoint(name)
        except FieldError as error:
            seen.add(frames_of(error))
        return len(large)

    look()
    gc.collect()
    tracemalloc.start()
    for _ in range(LOOKS):
        look()
    gc.collect()
    kept = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(seen) == 1
    assert kept < 20 * 10_000 < LOOKS * 10_000
    assert catalogue.error_of(name) is not catalogue.error_of(name)


@pytest.mark.parametrize(
    "made",
    [
        lambda: FieldError("seed", "at_least", bound=0, got=-1),
        lambda: together([FieldError("seed", "at_least", bound=0, got=-1), FieldError("eta", "required")]),
        lambda: PartError("A", FieldError("seed", "required")),
        lambda: AxisError("axis_1", 2, FieldError("seed", "required")),
        lambda: PartError("A", ValueError("of a library")),
    ],
)
def test_an_error_is_had_afresh(made):
    try:
        try:
            raise made()
        except ValueError as error:
            raise error from RuntimeError("a cause")
    except ValueError as error:
        raised = error
    again = raised.fresh()
    assert type(again) is type(raised) and str(again) == str(raised) and again.fields == raised.fields
    assert [str(one) for one in again.findings] == [str(one) for one in raised.findings]
    for one in (again, *again.findings, *(value for value in again.values.values() if isinstance(value, ValueError))):
        assert one.__traceback__ is None and one.__cause__ is None


# Many at once --------------------------------------------------------------------------------------------------------


def test_who_holds_one_key_holds_up_nobody_at_another():
    locks, entered, go_on = KeyedLocks(), threading.Event(), threading.Event()

    def hold():
        with locks.of("a"):
            entered.set()
            go_on.wait(60)

    holder = threading.Thread(target=hold)
    holder.start()
    assert entered.wait(60)
    with locks.of("b"):
        pass
    second = []
    waiter = threading.Thread(target=lambda: second.append(locks.of("a").__enter__()))
    waiter.start()
    time.sleep(0.05)
    assert not second
    go_on.set()
    holder.join(60)
    waiter.join(60)
    assert second == [None]


def test_a_folder_that_is_renamed_and_replaced_while_people_look_is_there_or_refused(catalogue):
    make_checkpoint(catalogue.folder / "moving")
    ended, wrong, answers = threading.Event(), [], []

    def look():
        while not ended.is_set():
            try:
                answers.append(catalogue.checkpoint("moving").name)
                assert catalogue.default() == "good"
            except FieldError:
                answers.append(None)
            except BaseException as error:
                wrong.append(error)

    threads = [threading.Thread(target=look) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(60):
        (catalogue.folder / "moving").rename(catalogue.folder / ".away")
        (catalogue.folder / ".away").rename(catalogue.folder / "moving")
    for _ in range(3):
        shutil.rmtree(catalogue.folder / "moving")
        make_checkpoint(catalogue.folder / "moving", num_train_timesteps=50)
    ended.set()
    for thread in threads:
        thread.join(60)
    assert wrong == [] and None in answers
    assert catalogue.checkpoint("moving").num_train_timesteps == 50


def test_the_page_opens_beside_all_of_them(tmp_path):
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    catalogue = Catalogue(folder)
    make_checkpoint(folder / "good", classes=3)
    for number, spoil in enumerate(ODD):
        spoiled(catalogue, spoil, f"odd-{number}")
    for name in ("<b>x", "a\nb", "\u202eabc"):
        (folder / name).mkdir()
    os.mkdir(os.path.join(os.fsencode(folder), b"caf\xe9"))
    (tmp_path / "home").mkdir()
    with running_app(folder, tmp_path / "home") as address:
        for _ in range(3):
            with urllib.request.urlopen(f"{address}/", timeout=60) as answer:
                assert answer.status == 200
        with urllib.request.urlopen(f"{address}/config", timeout=60) as answer:
            json.load(answer)
