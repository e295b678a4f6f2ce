"""Recipes: the round trip through PNG and address, and everything that an untrusted sender can try."""

import io
import json
import re
import struct
import zlib
from urllib.parse import parse_qsl

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from diffusion.denoisers import Description
from diffusion.errors import FieldError
from diffusion.setting_spec import kinds_of
from diffusion.settings import SamplingSettings
from diffusion.sharing.recipe import KEYWORD, Recipe, compare, from_query, pixels_sha256, png_text, read_png, to_query

PICTURES = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
MADE_BY = Description("network", engine="torch", threads=2, precision="float32", checkpoint_sha256="a" * 64)
SETTINGS = [
    SamplingSettings(),
    SamplingSettings(checkpoint="pixel-faces", sampler="ddpm", num_inference_steps=1000, reverse_variance="beta"),
    SamplingSettings(eta=0.25, beta_start=1e-5, beta_end=0.012345678901234567, beta_schedule="sigmoid"),
    SamplingSettings(num_images=3, class_label=(0, 5, 2), guidance_scale=2.5, clip_sample=False, seed=2**32 - 3),
    SamplingSettings(num_images=1, class_label=(4,), conditioning="naive", timestep_spacing="trailing", start_step=7),
]


def made(settings=SETTINGS[1], **changes) -> Recipe:
    found = Recipe.of(settings, PICTURES, batch=18, made_by=MADE_BY)
    return Recipe(**(dict(found) | changes)) if changes else found


def png(info: PngInfo | None = None, size=(8, 8), kind="PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size).save(buffer, kind, **({"pnginfo": info} if info else {}))
    return buffer.getvalue()


def text_png(text: str) -> bytes:
    info = PngInfo()
    info.add_text(KEYWORD, text)
    return png(info)


@pytest.mark.parametrize("settings", SETTINGS)
def test_a_recipe_comes_back_out_of_its_png(settings):
    recipe = made(settings)
    found, image = read_png(png(png_text(recipe)))
    assert found == recipe and image.size == (8, 8)
    assert set(found.versions) == {"torch", "diffusers"} and found.batch == 18


@pytest.mark.parametrize("settings", SETTINGS)
def test_settings_come_back_out_of_an_address(settings):
    query = to_query(settings)
    assert from_query(dict(parse_qsl(query))) == settings.replace(
        class_label=settings.class_label[0] if settings.class_label == (4,) else settings.class_label
    )


def test_what_belongs_to_others_in_an_address_is_passed_over():
    assert from_query({"__theme": "dark", "utm_source": "x", "tab": "maths"}) is None
    assert from_query({"__theme": "dark", "seed": "5"}) == SamplingSettings(seed=5)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"seed": "abc"}, "seed: .*valid integer"),
        ({"seed": "-2"}, "seed: .*greater than or equal to 0"),
        ({"seed": "5.0"}, "seed: .*valid integer"),
        ({"eta": "nan"}, "eta: .*valid number"),
        ({"eta": "inf"}, "eta: .*valid number"),
        ({"eta": "1e400"}, "eta: "),
        ({"num_inference_steps": "9" * 5000}, "num_inference_steps: must be at most 2000 characters"),
        ({"clip_sample": "perhaps"}, "clip_sample: .*valid boolean"),
        ({"sampler": "magic"}, "sampler: Input should be 'ddim', 'ddpm', 'dpmpp_2m', "),
        ({"class_label": "1,x"}, "class_label: "),
        ({"checkpoint": "../../etc"}, "checkpoint: "),
        ({"beta_start": "0.5", "beta_end": "0.1"}, "beta_end: must lie in"),
    ],
)
def test_a_broken_address_names_the_field(query, message):
    with pytest.raises(ValueError, match=message):
        from_query(query)


@given(st.dictionaries(st.sampled_from(sorted(SamplingSettings.model_fields)), st.text(max_size=30), max_size=6))
def test_no_address_does_worse_than_a_named_error(query):
    try:
        from_query(query)
    except FieldError as error:
        assert str(error).partition(":")[0].split(",")[0] in SamplingSettings.model_fields


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "picture: not a PNG"),
        (b"\x89PNG\r\n\x1a\nrubbish", "picture: not a PNG"),
        (png(kind="JPEG"), "picture: not a PNG"),
        (png()[:40], "picture: not a PNG"),
        (png(), "picture: carries no recipe"),
        (png(size=(5000, 2)), "picture: larger than 4096 pixels"),
        (b"\0" * 8_000_001, "picture: the file is larger than 8 MB"),
        (text_png("hello"), "recipe: not JSON"),
        (text_png("[" * 5000), "recipe: not JSON"),
        (text_png("[1]"), "recipe: must be a JSON object"),
        (text_png("{}"), "settings: the recipe has none"),
        (text_png('{"format": 7, "settings": {}}'), "recipe: format 7 is of a newer version"),
        (text_png(json.dumps({"settings": {"seed": "x"}})), "seed: .*valid integer"),
        (text_png(json.dumps({"settings": {}})), "checkpoint_sha256: Field required"),
        (text_png(json.dumps({"settings": {}, "evil": 1})), "evil: "),
        (text_png('{"settings": {"eta": NaN}}'), "eta|settings"),
        (text_png(" " * 300_000), "recipe: longer than"),
    ],
)
def test_a_png_without_a_good_recipe_says_why(content, message):
    with pytest.raises(ValueError, match=message):
        read_png(content)


def test_a_picture_bomb_is_refused_before_it_is_unpacked():
    """A header that promises 4 gigapixels over a few bytes of data."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 65_000, 65_000, 8, 2, 0, 0, 0))
    bomb = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 10_000)) + chunk(b"IEND", b"")
    with pytest.raises(ValueError, match="picture: "):
        read_png(bomb)


def test_a_text_bomb_is_refused():
    """Compressed text that unpacks to much more than a recipe."""
    info = PngInfo()
    info.add_text(KEYWORD, "x" * 3_000_000, zip=True)
    with pytest.raises(ValueError, match=r"picture|recipe"):
        read_png(png(info))


@given(st.binary(max_size=200))
def test_no_bytes_do_worse_than_a_value_error(content):
    with pytest.raises(ValueError, match="picture: "):
        read_png(b"\x89PNG\r\n\x1a\n" + content)


@pytest.mark.parametrize(
    ("field", "value"),
    [("checkpoint_sha256", "x"), ("batch", 0), ("threads", True), ("engine", "x" * 50), ("versions", {"a": 1})],
)
def test_a_wrong_field_is_named(field, value):
    with pytest.raises(ValueError, match=f"^{field}: "):
        made(**{field: value})


def test_the_pixels_hash_is_of_the_bytes():
    import hashlib

    assert pixels_sha256(PICTURES) == hashlib.sha256(PICTURES.tobytes()).hexdigest()
    assert pixels_sha256(PICTURES[:, ::-1]) == hashlib.sha256(PICTURES[:, ::-1].tobytes()).hexdigest()


def test_verdicts():
    off = PICTURES.copy()
    assert compare(PICTURES, off) == ("identical", 0, 0)
    off[0, 0, 0, 0] = PICTURES[0, 0, 0, 0] ^ 1
    assert compare(PICTURES, off) == ("close", 1, 1)
    off[1, 2, 3, 1] = PICTURES[1, 2, 3, 1] ^ 2
    assert compare(PICTURES, off)[:2] == ("different", 2)
    assert compare(PICTURES, PICTURES[:1])[0] == "different"
    assert compare(np.array([0], dtype=np.uint8), np.array([255], dtype=np.uint8)) == ("different", 255, 1)


def test_all_settings_travel():
    """Whoever adds a field to the settings has it in addresses and recipes too."""
    assert set(json.loads(made().to_json())["settings"]) == set(SamplingSettings.model_fields)
    kinds = {name: kinds_of(field.annotation) for name, field in SamplingSettings.model_fields.items()}
    assert all(found & {int, float, bool, str, tuple} for found in kinds.values())


def test_a_png_says_its_settings_as_webui_does_too():
    from diffusion.sharing.recipe import webui_parameters

    settings = SamplingSettings(
        checkpoint="faces", sampler="dpmpp_2m", num_inference_steps=20, seed=7, num_images=2, class_label=(3, 3),
        guidance_scale=2.5, timestep_spacing="power",
    )  # fmt: skip
    recipe = Recipe(
        settings=settings, checkpoint_sha256="ab" * 32, pixels_sha256="0" * 64, batch=2, engine="torch", threads=1,
        precision="float32", versions={},
    )  # fmt: skip
    first, last = webui_parameters(recipe, (16, 16)).split("\n")
    assert first == "faces, class 3"
    found = dict(re.findall(r"\s*([^:,]+): ([^,]+)(?:,|$)", last))  # as WebUI reads them
    expected = {"Steps": "20", "Sampler": "DPM++ 2M", "CFG scale": "2.5", "Seed": "7", "Size": "16x16"}
    expected |= {"Model hash": "ababababab", "Model": "faces"}
    assert expected.items() <= found.items()
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, format="PNG", pnginfo=png_text(recipe, (16, 16)))
    buffer.seek(0)
    assert Image.open(buffer).text["parameters"].startswith("faces, class 3\nSteps: 20, ")
    assert read_png(buffer.getvalue())[0] == recipe
