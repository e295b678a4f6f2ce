"""Turn numbers into the HTML of the Compare tab. Pure functions."""

from html import escape

from app.compare.plots import divergence_csv
from app.compare.run import ComparisonView
from app.controls.sentences import file_stem, plan_sentence
from app.server.checkpoints import Checkpoint
from app.texts import in_each, say
from app.ui.html import Shown, over, strips, words
from app.ui.images import FASTEST, data_uri, enlarged, full_columns, png, sheet, together
from diffusion.denoisers import Description
from diffusion.experiments.comparison import shares_step_noise
from diffusion.plan import Plan
from diffusion.sharing.recipe import Recipe

NAMES = ("A", "B")
FINAL_SIDE = 560  # of the final pictures, in pixels
ROWS = ("x_t", "x_0_hat")


def plan_lines(plans: tuple[Plan, Plan], seconds: tuple[float | None, float | None], language: str) -> str:
    """Return what both runs will do, and which noise they share."""
    lines = [
        f"{name}: {plan_sentence(plan, language, expected)}"
        for name, plan, expected in zip(NAMES, plans, seconds, strict=True)
    ]
    return "\n".join([*lines, say(language, f"compare.{_shared(plans)}")])


def _shared(plans: tuple[Plan, Plan]) -> str:
    if any(plan.settings.start == "gaussian" for plan in plans):
        return "shares_gaussian"
    if shares_step_noise(*plans):
        return "shares_all"
    noisy = [plan.settings.effective_eta > 0 for plan in plans]
    return "shares_first" if all(noisy) else "shares_only_one_noisy" if any(noisy) else "shares_none_noisy"


def strips_of(view: ComparisonView, language: str) -> str:
    """Return both runs at matching steps, as far as they have come."""
    rows = []
    for name, cells, numbers in zip(NAMES, view.cells, zip(*(c[0] for c in view.columns), strict=True), strict=True):
        for kind in ROWS:
            shown = []
            for cell, number in zip(cells, numbers, strict=True):
                alt = cell and say(language, f"compare.alt_{kind}", name=name, step=number + 1, t=cell.t)
                shown.append(cell and Shown(_picture(getattr(cell, kind)), alt))
            rows.append((f"{name} {say(language, f'compare.{kind}')}", shown))
    heads = [f"{log_snr:.1f}" for _, log_snr in view.columns]
    return strips(heads, rows, in_each(lambda language: say(language, "compare.axis")))


def _picture(images) -> str:
    return data_uri(png(sheet(images, full_columns(len(images))), level=FASTEST))


def outcome(
    view: ComparisonView,
    plans: tuple[Plan, Plan],
    checkpoints: tuple[Checkpoint, Checkpoint],
    made_by: tuple[Description, Description],
    language: str,
) -> str:
    """Return the final pictures on top of each other, the cost of each run, and links that save both.

    The picture of a complete run carries its recipe. Returns "" if a run was stopped before its first step.
    """
    shown, facts = [], []
    for k, name in enumerate(NAMES):
        plan, images = plans[k], view.x_t[k]
        settings = plan.settings
        if images is None:  # stopped before its first step
            return ""
        is_whole = view.numbers[k] == view.steps[k]
        recipe = None
        if is_whole:
            recipe = Recipe.of(settings, images, checkpoints[k].sha256, len(images), made_by[k])
        address = data_uri(png(enlarged(together(images), FINAL_SIDE), recipe))
        shown.append(Shown(address, say(language, "compare.alt_final", name=name)))
        places = {
            "name": name, "calls": plan.calls_after(view.numbers[k]), "passes": plan.evaluations,
            "seconds": f"{view.seconds[k]:.1f}",
        }  # fmt: skip
        save = words(in_each(lambda language, name=name: say(language, "compare.save", name=name)))
        sentence = words(in_each(lambda language, places=places: say(language, "compare.cost", **places)))
        facts.append(f'{sentence} <a href="{address}" download="{escape(file_stem(settings))}.png">{save}</a>')
    apart = words(in_each(lambda language: say(language, "compare.apart", distance=f"{view.apart:.3f}")))
    csv = words(in_each(lambda language: say(language, "plots.csv")))
    facts.append(f'{apart} <a href="{divergence_csv(view.divergences)}" download="ddpm-lab-compare.csv">{csv}</a>')
    lines = "".join(f'<p class="note">{fact}</p>' for fact in facts)
    return over(shown[0], shown[1], NAMES, say(language, "compare.slider")) + lines


def preset_words(name: str, language: str) -> str:
    """Return the hint on what to look for in a preset."""
    return f'<p class="hint">{escape(say(language, f"presets.{name}.see"))}</p>'
