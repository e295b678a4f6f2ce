"""Export and import the recipe of a run: a link, a Python script, a saved picture, and the runs of this browser."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import gradio as gr
from PIL.Image import Image

from app.controls.spec import sampler_title
from app.controls.values import linked_values
from app.generate.run import RunView
from app.server.limits import check_cost, check_images
from app.server.services import Services
from app.server.sessions import BySession
from app.texts import DEFAULT, in_each, say, say_in_each, say_name, texts
from app.texts.messages import Refusal
from app.ui.events import Component, Shown
from app.ui.html import Words, copy_script, words
from app.ui.images import as_saved
from app.ui.lazy_import import lazy_import
from app.ui.links import copy_words, link_line, settings_of_query
from app.ui.progress import Progress
from app.ui.upload import AsSent, uploaded
from diffusion.settings import SamplingSettings
from diffusion.sharing.recipe import Recipe, compare, pixels_sha256, read_png, to_query

if TYPE_CHECKING:
    from diffusion.pipeline import DDPMLabPipeline
    from diffusion.plan import Plan

engines, scripts = lazy_import("diffusion.engines.base"), lazy_import("diffusion.sharing.script")

SESSIONS = 500  # of which the file in the panel is known
HISTORY = 20  # runs that a browser remembers


class RecipePanel:
    """The components of the group "recipe", and the handlers that need none of the tab's controls."""

    def __init__(self, services: Services, remembered: gr.BrowserState):
        self.services = services
        self.remembered = remembered
        self.file_words = gr.HTML(heading(DEFAULT, "file"), apply_default_css=False)
        self.file = gr.File(
            label=say(DEFAULT, "recipe.file"), show_label=False, file_types=[".png"], height=130, elem_id="recipe-file"
        )
        self.file.data_model = AsSent
        self.said = gr.HTML(apply_default_css=False, elem_id="recipe-said")
        # There only while there is a file to verify
        self.verify_button = gr.Button(say(DEFAULT, "buttons.verify"), size="sm", visible=False)
        self._files: BySession[str] = BySession(SESSIONS)
        self.link_words = gr.HTML(heading(DEFAULT, "link"), apply_default_css=False)
        self.link = gr.HTML(apply_default_css=False)
        self.python_words = gr.HTML(heading(DEFAULT, "python"), apply_default_css=False)
        self.python = gr.HTML(apply_default_css=False)

    def lay_out_history(self) -> None:
        """Lay out the list of this browser's earlier runs, outside of the group; it is there once there are some."""
        words = {"label": say(DEFAULT, "recipe.history"), "info": say(DEFAULT, "recipe.history_info")}
        self.history = gr.Dropdown([], filterable=False, visible=False, **words)

    @property
    def worded(self) -> set[Component]:
        """The outputs of `rewrite`."""
        return {self.file_words, self.file, self.verify_button, self.link_words, self.python_words, self.history}

    def rewrite(self, language: str) -> Shown:
        """Return the texts in a language."""
        return {
            self.file_words: heading(language, "file"),
            self.file: gr.update(label=say(language, "recipe.file")),
            self.verify_button: gr.update(value=say(language, "buttons.verify")),
            self.link_words: heading(language, "link"),
            self.python_words: heading(language, "python"),
            self.history: gr.update(label=say(language, "recipe.history"), info=say(language, "recipe.history_info")),
        }

    # Out -------------------------------------------------------------------------------------------------------------

    def describe(self, address: str, language: str, pipeline: "DDPMLabPipeline", plan: "Plan") -> Shown:
        """Return the link and the script of a run. address: of the page."""
        settings = plan.settings
        address = f"{address}?{to_query(settings)}"
        comments = {key: texts(language)[f"script.{key}"] for key in scripts.COMMENTS}
        script = scripts.python_script(plan, pipeline.scheduler.config, settings.checkpoint, comments)
        return {
            self.link: link_line(address, say_in_each("recipe.link")),
            self.python: copy_script(script, say_in_each("recipe.python"), *copy_words()),
        }

    def remember(self, known, language: str, settings: SamplingSettings) -> Shown:
        """Add a finished run to the front of the browser's list, and update the dropdown."""
        query = to_query(settings)
        queries = [query, *(other for other in _queries(known) if other != query)][:HISTORY]
        return {self.remembered: queries} | self.recall(language, queries)

    def recall(self, language: str, known) -> Shown:
        """Return the dropdown of the runs that the browser remembers; entries that cannot be read are dropped."""
        choices = []
        for number, query in enumerate(_queries(known), 1):
            try:
                settings = settings_of_query(query)
            except ValueError:
                continue
            if settings is None:
                continue
            name = say_name(language, "checkpoints", settings.checkpoint or "")
            sampler = sampler_title(settings.sampler, language)
            places = {"sampler": sampler, "steps": settings.num_inference_steps, "seed": settings.seed}
            choices.append((say(language, "recipe.history_entry", number=number, checkpoint=name, **places), query))
        return {self.history: gr.update(choices=choices, value=None, visible=bool(choices))}

    # In --------------------------------------------------------------------------------------------------------------

    def read(self, sent) -> tuple[dict, str]:
        """Return the controls' values for a saved picture, and the message about it. Raises ValueError."""
        recipe, _ = read_png(uploaded(sent))
        values = linked_values(self.services, recipe.settings)
        made = {"engine": recipe.engine, "precision": recipe.precision, "batch": recipe.batch}
        said = [say_in_each("recipe.restored", **made)]
        if self.services.catalogue.checkpoint(values["checkpoint"]).sha256 != recipe.checkpoint_sha256:
            said.append(say_in_each("recipe.other_checkpoint"))
        return values, message(_joined(said))

    def note_file(self, request: gr.Request, sent, is_readable: bool = True) -> Shown:
        """Note which file is in the panel now, or that none is. One without a readable recipe can't be verified."""
        path = _path(sent)
        if path is None:
            self._files.drop(request.session_hash)
        else:
            self._files.keep(request.session_hash, path)
        return {self.verify_button: gr.update(visible=path is not None and is_readable)}

    def told(self, request: gr.Request, sent, verification: "Verification", progress) -> Shown:
        """Return the verdict on the file that was verified; it names the file if another is in the panel by now."""
        said, is_good = verification.verdict(progress)
        if self._files.of(request.session_hash) != _path(sent):
            name = sent.get("orig_name")
            said = in_each(
                lambda language: say(
                    language, "recipe.of_file", name=name or say(language, "recipe.file"), said=said[language]
                )
            )
        return {self.said: message(said, is_good)}

    def verification(self, sent) -> "Verification":
        """Plan the run that makes the pictures of a saved file again. Raises FieldError."""
        if sent is None:
            raise Refusal("no_file")
        recipe, saved = read_png(uploaded(sent))
        checkpoint = self.services.catalogue.checkpoint(recipe.settings.checkpoint)
        pipeline = self.services.catalogue.quick_pipeline(checkpoint.name)
        if recipe.engine == engines.TorchEngine.name:
            pipeline = pipeline.with_engine(None)
        check_images(recipe.settings, self.services.options)
        plan = pipeline.plan(recipe.settings)
        check_cost(self.services.options, plan)
        return Verification(recipe, saved, checkpoint.sha256, pipeline, plan)


@dataclass(frozen=True, eq=False)
class Verification:
    """A saved picture, and the run that should make it again. sha256: of the checkpoint as it is on this server now."""

    recipe: Recipe
    saved: Image
    sha256: str
    pipeline: "DDPMLabPipeline"
    plan: "Plan"

    def verdict(self, progress: Progress[RunView]) -> tuple[Words, bool]:
        """Return how the pictures of the ended run agree with the saved one, and whether that is good."""
        if progress.state != "done":
            return say_in_each("recipe.stopped"), False
        pixels = progress.content.x_t
        verdict, most, count = compare(*as_saved(pixels, self.saved))
        if verdict == "different" and pixels_sha256(pixels) == self.recipe.pixels_sha256:
            return say_in_each("recipe.edited"), False
        said = [say_in_each(f"recipe.{verdict}", most=most, count=f"{count:,}")]
        if verdict == "different" and self.recipe.checkpoint_sha256 != self.sha256:
            said.append(say_in_each("recipe.other_checkpoint"))
        return _joined(said), verdict != "different"


def heading(language: str, part: str) -> str:
    """Return the heading of a part of the panel: "file", "link" or "python"."""
    return f"<p><b>{say(language, f'recipe.{part}')}</b><br>{say(language, f'recipe.{part}_info')}</p>"


def message(said: Words, is_good: bool = True) -> str:
    """Return the message below the file."""
    return f'<p class="said{"" if is_good else " wrong"}" role="status">{words(said)}</p>'


def _joined(sentences: list[Words]) -> Words:
    return in_each(lambda language: " ".join(sentence[language] for sentence in sentences))


def _path(sent) -> str | None:
    """Return the path of an uploaded file, which no other content has; None if no file was sent."""
    return str(sent["path"]) if isinstance(sent, dict) and sent.get("path") else None


def _queries(known) -> list[str]:
    """Return the queries in the list that a browser sent; anything else in it is dropped."""
    return [query for query in known[:HISTORY] if isinstance(query, str)] if isinstance(known, list) else []
