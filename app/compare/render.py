"""Turn numbers into the HTML of the Compare tab. Pure functions."""

from html import escape

from app.compare.plots import divergence_csv
from app.compare.run import ComparisonView
from app.controls.codecs import CODECS
from app.controls.sentences import file_name, pictures_key, plan_sentence, plan_summary
from app.controls.spec import field_words, sampler_title
from app.server.checkpoint_facts import Checkpoint
from app.texts import in_each, say, say_in_each
from app.ui.address import picture_data, sends
from app.ui.html import Shown, Words, over, strips, words
from app.ui.images import FASTEST, SAVED_SIDE, data_uri, enlarged, full_columns, png, sheet, square_columns, together
from diffusion.denoisers import Description
from diffusion.experiments.comparison import shares_step_noise
from diffusion.plan import Plan
from diffusion.settings import SETTINGS, SamplingSettings
from diffusion.sharing.recipe import Recipe, to_query

NAMES = ("A", "B")
FINAL_SIDE = 560  # of the final pictures, in pixels
ROWS = ("x_t", "x_0_hat")
IN_TITLE = ("sampler", "num_inference_steps")  # settings that a run's title always names


def plan_summaries(plans: tuple[Plan, Plan], seconds: tuple[float | None, float | None], language: str) -> str:
    """Return a short line on each run, and below it what will go wrong. Everything else is in `plan_details`."""
    return "\n".join(
        _line(language, name, plan_summary(plan, language, expected))
        for name, plan, expected in zip(NAMES, plans, seconds, strict=True)
    )


def plan_details(plans: tuple[Plan, Plan], language: str) -> str:
    """Return what both runs will do, and which noise they share."""
    lines = [_line(language, name, plan_sentence(plan, language)) for name, plan in zip(NAMES, plans, strict=True)]
    shared = say(language, f"compare.{_shared(plans)}")
    return "".join(f'<p class="note">{escape(line)}</p>' for line in [*lines, shared])


def _line(language: str, name: str, what: str) -> str:
    return say(language, "compare.line", name=name, what=what)


def _shared(plans: tuple[Plan, Plan]) -> str:
    if any(plan.settings.start == "gaussian" for plan in plans):
        return "shares_gaussian"
    if shares_step_noise(*plans):
        return "shares_all"
    noisy = [plan.settings.effective_eta > 0 for plan in plans]
    return "shares_first" if all(noisy) else "shares_only_one_noisy" if any(noisy) else "shares_none_noisy"


def strips_of(view: ComparisonView) -> str:
    """Return both runs at matching steps, as far as they have come."""
    rows = []
    for name, cells, numbers in zip(NAMES, view.cells, zip(*(c[0] for c in view.columns), strict=True), strict=True):
        for kind in ROWS:
            shown = []
            for cell, number in zip(cells, numbers, strict=True):
                places = cell and {"name": name, "step": number + 1, "t": cell.t}
                alt = places and say_in_each(f"compare.alt_{kind}", **places)
                shown.append(cell and Shown(_picture(getattr(cell, kind)), alt))
            label = {language: f"{name} {what}" for language, what in say_in_each(f"compare.{kind}").items()}
            rows.append((label, shown))
    heads = [f"{log_snr:.1f}".replace("-", "−") for _, log_snr in view.columns]
    return strips(heads, rows, in_each(lambda language: say(language, "compare.axis")))


def _picture(images) -> str:
    return data_uri(png(sheet(images, full_columns(len(images))), level=FASTEST))


def outcome(
    view: ComparisonView,
    plans: tuple[Plan, Plan],
    checkpoints: tuple[Checkpoint, Checkpoint],
    made_by: tuple[Description, Description],
) -> str:
    """Return the final pictures in pairs of one seed, the cost of each run, and links that save both.

    The picture of a complete run carries its recipe. Returns "" if a run was stopped before its first step.
    """
    facts, sides = [], []
    for k, name in enumerate(NAMES):
        plan, images = plans[k], view.x_t[k]
        settings = plan.settings
        if images is None:  # stopped before its first step
            return ""
        is_whole = view.numbers[k] == view.steps[k]

        def saved(start: int, stop: int, side: int, k=k, images=images, is_whole=is_whole) -> str:
            """Return the address of pictures start..stop-1 of the run, with their recipe if the run is whole."""
            part, shown = plans[k].settings.part(start, stop), images[start:stop]
            recipe = Recipe.of(part, shown, len(images), made_by[k]) if is_whole else None
            size = images.shape[2], images.shape[1]
            return data_uri(png(enlarged(together(shown), side), recipe, size=size))

        sides.append([
            Shown(
                saved(number, number + 1, SAVED_SIDE),
                say_in_each("compare.alt_final", name=name, number=number + 1),
                data=picture_data(settings, number, "compare"),
                file=file_name(settings.part(number, number + 1), name),
            )
            for number in range(len(images))
        ])  # fmt: skip
        address = saved(0, len(images), FINAL_SIDE)
        places = {
            "name": name, "calls": plan.calls_after(view.numbers[k]), "passes": plan.evaluations,
            "seconds": f"{view.seconds[k]:.1f}",
        }  # fmt: skip
        save = words(in_each(lambda language, name=name: say(language, "compare.save", name=name)))
        sentence = words(in_each(lambda language, places=places: say(language, "compare.cost", **places)))
        saved = f'<a href="{address}" download="{escape(file_name(settings, name))}">{save}</a>'
        facts.append(f"{sentence} {saved} {sends(to_query(settings), 'compare')}")
    apart = words(in_each(lambda language: say(language, "compare.apart", distance=f"{view.apart:.3f}")))
    csv = words(in_each(lambda language: say(language, "plots.csv")))
    facts.append(f'{apart} <a href="{divergence_csv(view.divergences)}" download="ddpm-lab-compare.csv">{csv}</a>')
    lines = "".join(f'<p class="note">{fact}</p>' for fact in facts)
    titles = run_titles(plans, checkpoints)
    pairs, label = list(zip(*sides, strict=True)), say_in_each("compare.slider")
    shown = over(pairs, titles, label, square_columns(len(pairs)))
    moved = f'<p class="other" role="status">{words(say_in_each("stage.moved"))}</p>'
    return f'<div class="compared" data-key="{escape(pictures_keys(plans))}">{moved}{shown}{lines}</div>'


def pictures_keys(plans: tuple[Plan, Plan]) -> str:
    """Return a key that is equal for all comparisons that make the same pictures."""
    return " ".join(map(pictures_key, plans))


def run_titles(plans: tuple[Plan, Plan], checkpoints: tuple[Checkpoint, Checkpoint]) -> tuple[Words, Words]:
    """Return what each run is: its sampler, its steps, and what else sets it apart from the other."""
    a, b = plans[0].settings, plans[1].settings
    apart = [
        name
        for name, setting in SETTINGS.items()
        if setting.control and name not in IN_TITLE and getattr(a, name) != getattr(b, name)
        and all(setting.holds(plan.settings.facts) for plan in plans)
    ]  # fmt: skip
    first, second = (
        in_each(lambda language, k=k: _run_title(NAMES[k], plans[k].settings, checkpoints[k], apart, language))
        for k in range(2)
    )
    return first, second


def titles_line(plans: tuple[Plan, Plan], checkpoints: tuple[Checkpoint, Checkpoint], language: str) -> str:
    """Return what both runs are in one line."""
    first, second = (title[language] for title in run_titles(plans, checkpoints))
    return say(language, "compare.own", a=first, b=second)


def _run_title(name: str, settings: SamplingSettings, checkpoint: Checkpoint, apart: list[str], language: str) -> str:
    steps = settings.num_inference_steps
    places = {"name": name, "sampler": sampler_title(settings.sampler, language), "steps": steps}
    more = [
        say(
            language,
            "compare.title_class" if field == "class_label" else "compare.title_more",
            field=field_words(field, language),
            value=shown,
        )
        for field in apart
        if (shown := _value_words(field, settings, checkpoint, language))
    ]
    return "".join([say(language, "compare.title_one" if steps == 1 else "compare.title_many", **places), *more])


def _value_words(field: str, settings: SamplingSettings, checkpoint: Checkpoint, language: str) -> str:
    """Return a setting's value in words; "" for one that is as trained."""
    value = getattr(settings, field)
    if value is None and field != "class_label":
        return ""
    if isinstance(value, tuple):
        return say(language, "controls.class_choice.mixed")
    return CODECS[field].value_words(value, checkpoint, language)


def hint(text: str) -> str:
    """Return the hint on what to look for, or on what the runs are."""
    return f'<p class="hint">{escape(text)}</p>' if text else ""
