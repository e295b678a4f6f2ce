"""Turn numbers into the HTML of the stage and of what surrounds it. Pure functions."""

import base64
import functools
from html import escape

from gradio.components.plot import PlotData

from app.controls.sentences import file_name, images_count, made_line, pictures_key
from app.generate.explanations import explanations
from app.generate.film import EPS_RANGE, KINDS, Frame, animation, frame_size, strip
from app.generate.plots import schedule_csv, schedule_plots
from app.generate.previews import data_uri_of, samples_uri
from app.generate.run import RunView
from app.server.checkpoint_facts import Checkpoint
from app.texts import in_each, say, say_in_each, say_name
from app.ui.address import picture_data, sends
from app.ui.html import Shown, Words, film, notice, panels, results, said, words
from app.ui.images import FASTEST, SHEET_SIDE, data_uri, enlarged, picture, png, sheet, square_columns, together
from app.ui.progress import Progress
from diffusion.denoisers import Description
from diffusion.plan import Plan
from diffusion.sharing.recipe import Recipe, to_query

MANY = 6  # pictures; more are too small in a third of a phone's width
PREVIEW_PIXELS = 2**16  # per preview; pictures beyond that are not previewed


def opening(checkpoint: Checkpoint) -> str:
    """Return the stage before any run: pictures of the checkpoint's training data, and samples that it made."""

    def data_name(language: str) -> str:
        return say_name(language, "checkpoints", checkpoint.data_name)

    shown = []
    if address := data_uri_of(checkpoint):
        caption = in_each(lambda language: say(language, "stage.data", name=data_name(language)))
        alt = in_each(lambda language: say(language, "stage.alt_data", name=data_name(language)))
        shown.append(Shown(address, alt, caption))
    if address := samples_uri(checkpoint):
        caption = in_each(lambda language: say(language, "stage.samples"))
        shown.append(Shown(address, say_in_each("stage.alt_samples"), caption))
    if not shown:
        title = in_each(lambda language: say_name(language, "checkpoints", checkpoint.name))
        return notice(title, in_each(lambda language: say(language, "stage.samples_none")))
    return panels(shown)


def running(progress: Progress[RunView]) -> str:
    """Return the stage during a run: x_t and x_0_hat side by side."""
    view, shown = progress.content, []
    for key, images in (("x_t", view.x_t), ("x_0_hat", view.x_0_hat)):
        _, height, width, _ = images.shape
        images = images[: max(1, PREVIEW_PIXELS // (height * width))]
        address = data_uri(png(sheet(images, square_columns(len(images))), level=FASTEST))
        alt = say_in_each(f"stage.alt_{key}", step=progress.done, steps=progress.total)
        shown.append(Shown(address, alt, in_each(lambda language, key=key: say(language, f"stage.{key}"))))
    return panels(shown)


def finished(progress: Progress[RunView], plan: Plan, checkpoint: Checkpoint, made_by: Description) -> str:
    """Return the stage after a run: each picture to look at and to save. After Stop these are the guesses x_0_hat.

    A picture of a complete run carries its recipe, with its own seed; a guess carries none, since no settings produce
    it.
    """
    settings = plan.settings
    view, is_done = progress.content, progress.state == "done"
    images = view.x_t if is_done else view.x_0_hat
    size = images.shape[2], images.shape[1]

    def recipe(start: int, stop: int) -> Recipe | None:
        """Return the recipe of the pictures start..stop-1 of the run; None if it was stopped."""
        part = settings.part(start, stop)
        return Recipe.of(part, images[start:stop], len(images), made_by) if is_done else None

    shown = []
    for number, image in enumerate(images):
        label = plan.class_labels and plan.class_labels[number]
        alt = in_each(functools.partial(_picture_alt, number, settings.seed + number, label, checkpoint))
        address = data_uri(png(enlarged(picture(image)), recipe(number, number + 1), size=size))
        file = file_name(settings.part(number, number + 1))
        shown.append(Shown(address, alt, data=picture_data(settings, number, "generate"), file=file))
    everything = png(enlarged(together(images), side=SHEET_SIDE), recipe(0, len(images)), size=size)
    places = {"step": progress.done, "steps": progress.total, "seconds": f"{progress.seconds:.1f}"}

    def sentence(language: str) -> str:
        ended = say(language, f"stage.{progress.state}", images=images_count(len(images), language), **places)
        return ended if view.is_finite else f"{ended} {say(language, 'stage.overflow')}"

    return results(
        shown,
        in_each(sentence),
        data_uri(everything),
        file_name(settings, "all"),
        in_each(lambda language: say(language, "stage.download_all")),
        made=in_each(lambda language: made_line(plan, checkpoint, language)),
        moved=in_each(lambda language: say(language, "stage.moved")),
        key=pictures_key(plan),
        sends=sends(to_query(settings), "generate"),
    )


def film_of(progress: Progress[RunView]) -> str:
    """Return the film of the run, to scrub and play through."""
    frames = list(progress.content.film)
    strips = []
    for kind in KINDS:
        caption = in_each(lambda language, kind=kind: say(language, f"film.{kind}", eps_range=f"{EPS_RANGE:g}"))
        alt = say_in_each(f"film.alt_{kind}")
        strips.append(Shown(strip(frames, kind), alt, caption))
    captions = [frame.caption for frame in frames]
    label, play = (say_in_each(f"film.{key}") for key in ("label", "play"))
    return film(strips, frame_size(frames), captions, label, play, len(progress.content.x_t) > MANY)


def animated(frames: list[Frame], stem: str) -> str:
    """Return the film as an animation, which is also a link that saves it."""
    address = "data:image/gif;base64," + base64.b64encode(animation(frames)).decode("ascii")
    caption = in_each(lambda language: say(language, "film.save"))
    image = f'<img src="{address}" {said(alt=say_in_each("film.alt_animation"))}>'
    return f'<a href="{address}" download="{escape(stem)}.gif">{image}</a><p class="note">{words(caption)}</p>'


def broken(error: Words) -> str:
    """Return the stage of a checkpoint that cannot be used. error: why."""
    return notice(in_each(lambda language: say(language, "broken.title")), error)


def empty(folder: str) -> str:
    """Return the stage of a folder without checkpoints."""
    title = in_each(lambda language: say(language, "empty.title"))
    return notice(title, in_each(lambda language: say(language, "empty.body", folder=folder)))


def before(plan: Plan, language: str) -> tuple[list[PlotData], str]:
    """Return what a run will do: as plots, and as the HTML of one sentence per control."""
    items = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in explanations(plan, language))
    csv = f'<a href="{schedule_csv(plan)}" download="ddpm-lab-schedule.csv">{escape(say(language, "plots.csv"))}</a>'
    heading = f"<h2>{escape(say(language, 'explanations.heading'))}</h2>"
    return [
        chart.plot for chart in schedule_plots(plan, language)
    ], f'{heading}<dl class="explanations">{items}</dl><p class="note">{csv}</p>'


def _picture_alt(number: int, seed: int, label: int | None, checkpoint: Checkpoint, language: str) -> str:
    """Return the alternative text of the picture at this place of a run, from 0."""
    if label is None or label >= checkpoint.classes:  # the label after the last class means "no class"
        what = say(language, "stage.picture_plain", seed=seed)
    else:
        name = say_name(language, "classes", checkpoint.class_names[label])
        what = say(language, "stage.picture_class", name=name, seed=seed)
    return say(language, "stage.alt_picture", number=number + 1, what=what)
