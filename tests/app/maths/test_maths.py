"""The chapters: equal in both languages, with experiments that answer for every checkpoint, schedule and value."""

import csv
import io
import json
import math
import re
import shutil
import string
from itertools import islice
from types import SimpleNamespace
from urllib.parse import unquote

import altair
import gradio as gr
import numpy as np
import pytest
from PIL import Image

from app.controls.panel import START_VALUES, RunControls
from app.controls.values import DEFAULTS, defaults
from app.maths.book import CHAPTERS
from app.maths.c11_identity_table import algebra_of, others_of
from app.maths.chapter import Control, Upload
from app.maths.experiment_panel import ExperimentPanel
from app.maths.pages import Page
from app.maths.scene import Scene
from app.maths.tab import MathsTab
from app.maths.words import chapter_words
from app.page import quick
from app.server.checkpoints import Catalogue
from app.server.options import Options
from app.server.queue import Ticket
from app.server.services import Services
from app.texts import LANGUAGES
from app.texts.messages import Refusal
from app.ui.charts import Chart
from diffusion.derivation.c11_identity_table import ROWS
from tests.app.checkpoints import make_checkpoint
from tests.app.running import REPOSITORY

NAMES = [chapter.name for chapter in CHAPTERS]
EXPERIMENTS = [(chapter, experiment) for chapter in CHAPTERS for experiment in chapter.experiments]
IDS = [f"{chapter.number}-{experiment.name}" for chapter, experiment in EXPERIMENTS]
SHIPPED = ("pixel-faces", "mnist", "fashion-mnist")
REQUEST = SimpleNamespace(session_hash="x", headers={"referer": "http://localhost/"})


@pytest.fixture(scope="module")
def services():
    """The shipped checkpoints as the page has them soon after its start: on engines, without PyTorch's weights."""
    catalogue = Catalogue(REPOSITORY / "checkpoints", quicken=quick)
    assert all(catalogue.quick_pipeline(name).unet.device.type == "meta" for name in SHIPPED)
    return Services(Options(), catalogue)


def scene_of(services, name="pixel-faces", **fields) -> Scene:
    values = {"checkpoint": name} | defaults(services.catalogue.checkpoint(name), services.options) | fields
    return Scene.of(services, values)


def values_of(experiment, scene, choose=lambda control, scene: control.value) -> dict:
    return {one.name: one.checked(one.fitted(choose(one, scene), scene), scene) for one in experiment.controls}


def places(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_the_book_is_whole():
    assert [chapter.number for chapter in CHAPTERS] == list(range(1, 12))


@pytest.mark.parametrize("language", [language for language in LANGUAGES if language != "en"])
@pytest.mark.parametrize("name", NAMES)
def test_the_languages_say_the_same_things(name, language):
    en, zh = chapter_words(name, "en"), chapter_words(name, language)
    assert list(en.sections) == list(zh.sections)
    assert set(en.words) == set(zh.words)
    assert en.title and zh.title and en.title != zh.title
    for key, text in en.sections.items():
        other = zh.sections[key]
        assert text.strip() and re.search("[一-鿿]", other), key
        assert text.count("<details>") == text.count("</details>") == other.count("<details>"), key
        assert text.count("$$") == other.count("$$"), key
        assert text.count("$$") % 2 == 0 and text.replace("$$", "").count("$") % 2 == 0, key
        assert other.replace("$$", "").count("$") % 2 == 0, key
        assert not re.search(r"\$[，。；：、？！）」』]", other), key  # a mark that would begin a line on a phone
        bold = re.findall(r"\*\*([^*]+)\*\*(.?)", other)  # in pairs, from the left
        assert not [
            one for one in bold if re.search("[：。，；？！”」』]$", one[0]) and re.match("[一-鿿A-Za-z]", one[1])
        ], key
    assert "text" in en.sections and "claim" in en.sections and "tutorial" in en.sections


@pytest.mark.parametrize("chapter", CHAPTERS, ids=NAMES)
def test_text_and_experiments_belong_together(chapter):
    sections = chapter_words(chapter.name, "en").sections
    assert [f"see {one.name}" for one in chapter.experiments] == [key for key in sections if key.startswith("see ")]
    for experiment in chapter.experiments:
        for language in LANGUAGES:
            text = chapter_words(chapter.name, language)
            assert text.sections[f"see {experiment.name}"].startswith("### ")
            for control in experiment.controls:
                assert text.say(control.name), control.name
        assert (experiment.run is None) == (experiment.calls is None)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "11-identity-table"])
def test_every_chapter_but_the_table_has_a_proof(name):
    assert "<details>" in chapter_words(name, "en").sections["text"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_numbers_of_chapter_6_are_right(language):
    """One theta for all steps, x_0_hat = theta x_t, on x_0 ~ N(0, 0.5^2); and the least L_0 of a density."""
    beta = np.linspace(1e-4, 0.02, 1000)
    ab = np.cumprod(1 - beta)
    snr, a, v = ab / (1 - ab), np.sqrt(ab), 0.25 * ab + 1 - ab  # v: E x_t^2
    delta = snr[:-1] - snr[1:]  # of the steps t -> t - 1 with t >= 1

    def total(theta, weights=delta / 2, at=slice(1, None)):
        return (weights * (0.25 - 2 * theta * 0.25 * a[at] + theta**2 * v[at])).sum()

    apart = total(0.25 * a[1:] / v[1:])
    together = total((delta * 0.25 * a[1:]).sum() / (delta * v[1:]).sum())
    simple = total((snr * 0.25 * a).sum() / (snr * v).sum())  # the minimum under L_simple, whose weights are SNR_t
    density_bpd = 0.5 * math.log2(2 * math.pi * beta[1] * (1 - ab[0]) / (1 - ab[1]))
    text = chapter_words("06-every-term", language).sections["text"]
    for number in (f"{apart:.2f}", f"{together:.2f}", f"{simple:.2f}", f"{density_bpd:.2f}"):
        assert number in text


def check_parts(parts, experiment, language, has_all=True):
    assert len(parts) == len(experiment.parts)
    for kind, part in zip(experiment.parts, parts, strict=True):
        if part is None:
            assert not has_all
            continue
        if kind != "plot":
            assert isinstance(part, str)
            text = re.sub(r'src="[^"]*"|```.*?```', "", part, flags=re.DOTALL)  # what is text, not pictures or code
            assert not re.search(r"\b(nan|inf|None)\b", text), text[:300]
            assert text.count("$") % 2 == 0, text[:300]
            continue
        assert isinstance(part, Chart) and part.layers and part.alt
        spec = json.loads(part.plot.plot)
        for layer in spec["layer"]:  # a few rows tell: the check of thousands takes seconds
            if "values" in layer.get("data", {}):
                layer["data"]["values"] = layer["data"]["values"][:3]
        altair.Chart.from_dict(spec, validate=True)
        rows = list(csv.reader(io.StringIO(unquote(part.csv.partition(",")[2]))))
        assert len(rows) > 1 and all(len(row) == 3 for row in rows)


@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize(("chapter", "experiment"), EXPERIMENTS, ids=IDS)
def test_every_experiment_opens_with_a_result(services, chapter, experiment, name):
    scene = scene_of(services, name)
    language = "zh" if name == "mnist" else "en"
    parts = experiment.show(scene, values_of(experiment, scene), chapter_words(chapter.name, language).say)
    check_parts(parts, experiment, language)


@pytest.mark.parametrize("end", ["least", "most"])
@pytest.mark.parametrize(("chapter", "experiment"), EXPERIMENTS, ids=IDS)
def test_every_experiment_answers_at_the_ends_of_its_controls_on_other_betas(services, chapter, experiment, end):
    fields = {"beta_schedule": "squaredcos_cap_v2"} if end == "least" else {"beta_end": 0.05}
    scene = scene_of(services, **fields)
    at = -1 if end == "most" else 0

    def choose(control: Control, scene: Scene):
        if isinstance(control, Upload):
            return None
        return control.choices[at] if control.choices else control.limits(scene)[at]

    parts = experiment.show(scene, values_of(experiment, scene, choose), chapter_words(chapter.name, "zh").say)
    check_parts(parts, experiment, "zh")


RUNS = [(chapter, experiment) for chapter, experiment in EXPERIMENTS if experiment.run is not None]


@pytest.mark.parametrize(
    ("chapter", "experiment"), RUNS, ids=[f"{chapter.number}-{experiment.name}" for chapter, experiment in RUNS]
)
def test_every_run_goes_on_step_by_step(services, chapter, experiment):
    scene = scene_of(services)
    values = values_of(experiment, scene)
    calls, pictures = experiment.calls(scene, values)
    assert 1 <= calls * pictures <= services.options.max_cost
    stages = list(islice(experiment.run(scene, values, chapter_words(chapter.name, "en").say), 3))
    assert [stage.done for stage in stages] == sorted({stage.done for stage in stages}) and stages[0].total >= len(
        stages
    )
    check_parts(stages[-1].make(False), experiment, "en", has_all=False)


@pytest.mark.slow  # every row of the table, on each shipped checkpoint, trained and with noise on its weights
@pytest.mark.parametrize("weights", ["trained", "spoiled"])
@pytest.mark.parametrize("name", SHIPPED)
def test_the_identities_hold_on_every_checkpoint_and_noise_on_the_weights_fails_quality_alone(services, name, weights):
    scene = scene_of(services, name)
    found = [*algebra_of(scene), *others_of(scene, weights)]
    assert sorted(one.number for one in found) == [row.number for row in ROWS]
    kinds = {row.number: row.kind for row in ROWS}
    failed = {kinds[one.number] for one in found if not one.passed}
    assert failed == ({"D"} if weights == "spoiled" else set()), [one for one in found if not one.passed]


@pytest.mark.parametrize(
    ("control", "value", "message"),
    [
        (Control("t", 5, minimum=1), 0, r"^t: must lie in \[1, 1000\], got 0"),
        (Control("t", 5, minimum=1), 1001, r"^t: must lie in \[1, 1000\]"),
        (Control("t", 5, minimum=1), 2.5, r"^t: Input should be a valid integer"),
        (Control("t", 5, minimum=1), float("nan"), r"^t: must lie in"),
        (Control("t", 5, minimum=1), float("inf"), r"^t: must lie in"),
        (Control("t", 5, minimum=1), 10**400, r"^t: must lie in"),
        (Control("t", 5, minimum=1), True, r"^t: must lie in"),
        (Control("t", 5, minimum=1), "5", r"^t: must lie in"),
        (Control("t", 5, minimum=1), None, r"^t: needs a value"),
        (Control("t", 5, minimum=1), [5], r"^t: must lie in"),
        (Control("s", 0.5, maximum=4, step=0.1), 4.01, r"^s: must lie in \[0, 4\]"),
        (Control("kind", "a", choices=("a", "b")), "c", r"^kind: Input should be 'a' or 'b', got 'c'"),
        (Control("kind", "a", choices=("a", "b")), 3, r"^kind: Input should be 'a' or 'b', got 3"),
    ],
)
def test_wrong_values_are_named_with_their_range(services, control, value, message):
    with pytest.raises(ValueError, match=message):
        control.checked(value, scene_of(services))


def test_a_shorter_schedule_leaves_room_for_its_own_steps_only(catalogue):
    services = Services(Options(), catalogue)
    checkpoint = catalogue.checkpoint("faces")
    scene = Scene.of(services, {"checkpoint": "faces"} | defaults(checkpoint, services.options))
    control = Control("t", 500, minimum=1)
    assert scene.T == 100 and control.limits(scene) == (1, 100) and control.fitted(500, scene) == 100
    assert control.fitted("x", scene) == "x"


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P"])
def test_a_picture_of_ones_own_has_a_ledger(services, mode):
    scene = scene_of(services)
    buffer = io.BytesIO()
    Image.new(mode, (300, 170), 128 if mode in "LP" else None).save(buffer, format="PNG")
    x_0 = Upload("own").checked(buffer.getvalue(), scene)
    assert tuple(x_0.shape) == (3, 16, 16)
    experiment = next(one for chapter, one in EXPERIMENTS if one.name == "ledger")
    values = values_of(experiment, scene) | {"own": x_0}
    say = chapter_words("06-every-term", "en").say
    assert "your picture" in experiment.show(scene, values, say)[0]
    *_, last = islice(experiment.run(scene, values, say), 2)
    assert len(last.make(True)) == len(experiment.parts)


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n" + b"0" * 100])
def test_what_is_no_picture_is_refused(services, content):
    with pytest.raises(ValueError, match=r"^own: not a picture"):
        Upload("own").checked(content, scene_of(services))


def test_a_picture_bomb_is_refused_before_it_is_unpacked(services):
    buffer = io.BytesIO()
    Image.new("1", (5000, 5000)).save(buffer, format="PNG")
    with pytest.raises(ValueError, match=r"^own: larger than 4096 pixels"):
        Upload("own").checked(buffer.getvalue(), scene_of(services))


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    """A services with a copy of pixel-faces to spoil."""
    folder = tmp_path_factory.mktemp("copied") / "pixel-faces"
    shutil.copytree(REPOSITORY / "checkpoints" / "pixel-faces", folder)
    return Services(Options(), Catalogue(folder.parent)), folder


def test_what_was_measured_of_other_weights_is_not_shown(copied):
    services, folder = copied
    scene = scene_of(services)
    assert scene.lessons is not None and scene.data_facts.network_mse is not None
    record = folder / "reference" / "lessons.json"
    content = json.loads(record.read_text(encoding="utf-8"))
    record.write_text(json.dumps(content | {"checkpoint_sha256": "0" * 64}), encoding="utf-8")
    scene = scene_of(services)
    assert scene.lessons is None and scene.data_facts.network_mse is None and scene.data_facts.log_pictures > 9
    record.write_text(json.dumps(content), encoding="utf-8")
    assert scene_of(services).lessons is not None
    assert scene_of(services, beta_end=0.05).lessons is None


@pytest.mark.parametrize("name", ["lessons.npz", "facts.npz", "lessons.json"])
def test_a_damaged_record_is_no_record(copied, name):
    services, folder = copied
    path = folder / "reference" / name
    content = path.read_bytes()
    for broken in (b"", content[: len(content) // 2], b"no record"):
        path.write_bytes(broken)
        scene = scene_of(services)
        assert scene.data_facts is None if name == "facts.npz" else scene.lessons is None
    path.write_bytes(content)


# What cannot be shown without training pictures or what was measured of the network
NEEDS_REFERENCE = {
    "one-noise", "first-beta", "ledger", "bumps", "one-training-step", "two-answers", "neighbours", "all-rows",
}  # fmt: skip


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """Ten timesteps, no training pictures, no class, nothing measured."""
    folder = tmp_path_factory.mktemp("short")
    make_checkpoint(folder / "short", channels=1, num_train_timesteps=10, beta_end=0.5)
    return scene_of(Services(Options(), Catalogue(folder)), "short")


@pytest.mark.parametrize(("chapter", "experiment"), EXPERIMENTS, ids=IDS)
def test_every_experiment_answers_on_a_short_schedule_of_a_checkpoint_that_brings_little(chapter, experiment, short):
    """A result, or where pictures or what was measured are needed, a sentence that says so."""
    values, say = values_of(experiment, short), chapter_words(chapter.name, "en").say
    if experiment.name in NEEDS_REFERENCE:
        with pytest.raises(Refusal) as refused:
            experiment.show(short, values, say)
        assert refused.value.key == "no_reference"
    else:
        assert len(experiment.show(short, values, say)) == len(experiment.parts)


@pytest.fixture(scope="module")
def tab(services):
    with gr.Blocks():
        language = gr.Radio(["en", "zh"])
        generate = RunControls(services)
        generate.lay_out_basics()
        generate.lay_out_seed()
        generate.lay_out_count()
        generate.lay_out_guidance()
        generate.lay_out_schedule()
        generate.lay_out_sampler()
        made = MathsTab(services, language, generate)
    return made


def chosen(checkpoint="pixel-faces", **fields) -> dict:
    return START_VALUES | DEFAULTS | {"checkpoint": checkpoint} | fields


def turned(tab, chapter, control_values=None, drawn=None, language="en", turn=None, **generate) -> dict:
    """What a turn of the page says, by the outputs' names; what it leaves alone is missing."""
    sent = {control: chosen(**generate)[name] for name, control in tab.generate.controls.items()}
    sent |= {tab.language: language, tab.chapter: chapter, tab.control_values: control_values or {}, tab.page: drawn}
    found = (turn or tab.turn)(REQUEST, sent)
    assert found == gr.skip() or set(found) <= tab.whole
    names = ("chapter", "about", "back", "forth", "link", "page", "turned")
    return {name: found[getattr(tab, name)] for name in names if getattr(tab, name) in found}


def drawn(tab, page: Page, **control_values):
    """The components that a page draws, by what they are called in ExperimentPanel and MathsTab."""
    with gr.Blocks() as demo:
        tab.draw(page, control_values)
    return {block.key: block for block in demo.blocks.values() if block.key}


def test_opening_the_page_elsewhere_draws_nothing(tab):
    found = turned(tab, None)
    assert found.get("page") is None
    assert found["link"] == ""
    assert not any(isinstance(block, gr.Markdown) for block in drawn(tab, None).values())


def test_opening_the_tab_draws_the_first_chapter_alone(tab):
    found = turned(tab, None, language="zh", turn=tab.enter)
    assert found["page"].chapter == NAMES[0] and found["chapter"]["value"] == NAMES[0]
    assert "tab=maths&amp;chapter=1&amp;checkpoint=pixel-faces" in found["link"]
    blocks = drawn(tab, found["page"])
    assert [blocks[name,].visible for name in NAMES] == [True] + [False] * (len(NAMES) - 1)
    assert {key[0] for key in blocks if len(key) > 1} == {NAMES[0]}
    assert blocks[NAMES[0], "text"].value.startswith("# 1. 加噪")


def test_a_link_draws_its_chapter_once_though_it_opens_the_page_and_the_tab(tab):
    """The second one came late on a slow machine, and undid what had been set meanwhile."""
    assert turned(tab, NAMES[5])["page"].chapter == NAMES[5]
    assert turned(tab, NAMES[5], turn=tab.enter) == {}


def test_what_is_drawn_already_stays(tab):
    page = turned(tab, NAMES[2])["page"]
    again = turned(tab, NAMES[2], drawn=page)
    assert not {"page", "turned"} & set(again)
    assert turned(tab, NAMES[2], drawn=page, beta_end=0.05)["page"].generate["beta_end"] == 0.05


def test_a_turn_stops_what_runs_in_the_chapter_that_is_left(tab):
    mine = Ticket(REQUEST.session_hash, "maths")
    page = turned(tab, NAMES[2])["page"]
    tab.services.queue.join(mine, 1.0)
    place = tab.services.queue.begin(mine)
    turned(tab, NAMES[2], drawn=page)
    assert not place.is_stopped
    turned(tab, NAMES[3], drawn=page)
    assert place.is_stopped
    tab.services.queue.leave(mine)


def test_the_buttons_lead_to_the_neighbours(tab):
    assert turned(tab, NAMES[4], turn=tab.back_to)["page"].chapter == NAMES[3]
    assert turned(tab, NAMES[4], turn=tab.forth_to)["page"].chapter == NAMES[5]
    assert not turned(tab, NAMES[0], turn=tab.back_to)["back"]["interactive"]
    assert not turned(tab, NAMES[-1], turn=tab.forth_to)["forth"]["interactive"]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("chapter", CHAPTERS, ids=NAMES)
def test_every_chapter_is_drawn_with_its_results(tab, chapter, language):
    blocks = drawn(tab, Page(chapter.name, language, chosen()))
    for experiment in chapter.experiments:
        assert blocks[chapter.name, experiment.name, "said"].value == ""
        for control in experiment.controls:
            assert blocks[chapter.name, experiment.name, "control", control.name].interactive
        for number, kind in enumerate(experiment.parts):
            assert blocks[chapter.name, experiment.name, f"part {number}"].value, (experiment.name, kind)


def panel_of(tab, name, generate=None) -> ExperimentPanel:
    """An experiment's panel, drawn without results."""
    chapter, experiment = next(one for one in EXPERIMENTS if one[1].name == name)
    panel = ExperimentPanel(
        tab.services, Page(chapter.name, "en", generate or chosen()), chapter, experiment, tab.control_values, tab.link
    )
    with gr.Blocks():
        panel.lay_out(None, {})
    return panel


def sent_to(panel, values, control_values=None) -> dict:
    """What the browser sends with these values in the experiment's controls."""
    return {panel.controls[name]: value for name, value in values.items()} | {
        panel.control_values: control_values or {}
    }


def test_a_dial_is_remembered_and_stands_in_the_link_that_brings_it_back(tab):
    panel = panel_of(tab, "whose-noise")
    first = {control.name: control.value for control in panel.experiment.controls}
    found = panel.edit(REQUEST, sent_to(panel, first | {"t": 37}, {"forms.t": 9}))
    control_values = found[tab.control_values]
    assert control_values == {"forms.t": 9, "whose-noise.t": 37} and found[panel.said] == ""
    query = re.search(r'value="[^"?]*\?([^"]*)"', found[tab.link]).group(1).replace("&amp;", "&")
    assert tab.open(query) == {tab.chapter: gr.update(value=NAMES[0]), tab.control_values: {"whose-noise.t": 37.0}}
    blocks = drawn(tab, Page(NAMES[0], "zh", chosen()), **control_values)
    assert blocks[NAMES[0], "whose-noise", "control", "t"].value == 37
    found = panel.edit(REQUEST, sent_to(panel, first, control_values))
    assert found[tab.control_values] == {"forms.t": 9} and "whose-noise" not in found[tab.link]


@pytest.mark.parametrize("query", ["", "tab=compare&chapter=3", "chapter=2", "tab=maths&chapter=99", "tab=maths&x"])
def test_other_links_open_no_chapter_or_the_first(tab, query):
    assert tab.open(query) == {
        tab.chapter: gr.update(value=NAMES[0] if "maths" in query else None),
        tab.control_values: {},
    }


def test_a_wrong_value_in_a_link_is_named_and_the_first_result_shown(tab):
    blocks = drawn(tab, Page(NAMES[0], "en", chosen()), **{"whose-noise.t": "many"})
    said = blocks[NAMES[0], "whose-noise", "said"].value
    assert "Step t: must lie in [1, 1000], got &#x27;many&#x27;" in said
    assert blocks[NAMES[0], "whose-noise", "part 0"].value


@pytest.fixture(scope="module")
def panels(tab):
    """The panel of every experiment: laying one out takes longer than an edit."""
    return [(experiment, panel_of(tab, experiment.name)) for _, experiment in EXPERIMENTS]


@pytest.mark.parametrize("value", [float("nan"), 10**9, 10**400, None, "x", [], {}])
def test_nothing_that_is_sent_for_a_control_ends_in_an_error(panels, value):
    for experiment, panel in panels:
        first = {control.name: control.value for control in experiment.controls}
        for control in experiment.controls:
            if isinstance(control, Upload) and value is None:
                continue  # nothing is what it holds at first
            sent = sent_to(panel, first | {control.name: value})
            found = panel.edit(REQUEST, sent)
            assert set(found) == {panel.said} and "wrong" in found[panel.said]
            assert panel.note(REQUEST, sent) == gr.skip()


def test_a_checkpoint_that_is_not_there_is_said_and_the_chapter_can_be_read(tab):
    found = turned(tab, None, turn=tab.enter, checkpoint="nobody")
    assert "nobody" in found["about"] and found["link"] == ""
    blocks = drawn(tab, found["page"])
    assert blocks[NAMES[0], "text"].value.startswith("# 1.")
    assert not blocks[NAMES[0], "chain-and-jump", "part 0"].value
    panel = panel_of(tab, "chain-and-jump", found["page"].generate)
    values = {control.name: control.value for control in panel.experiment.controls}
    assert panel.edit(REQUEST, sent_to(panel, values)) == gr.skip()
    panel = panel_of(tab, RUNS[0][1].name, found["page"].generate)
    values = {control.name: control.value for control in panel.experiment.controls}
    with pytest.raises(ValueError, match="nobody"):
        panel.plan_job(REQUEST, sent_to(panel, values))


def test_experiments_have_names_of_their_own():
    names = [experiment.name for _, experiment in EXPERIMENTS]
    assert len(set(names)) == len(names)
