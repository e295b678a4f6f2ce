"""Chapter 11, the table of identities: every claim of the chapters, both sides of it, and whether they agree."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import replace

from app.maths.chapter import Chapter, Control, Experiment, Parts, Say
from app.maths.figures import table
from app.maths.scene import Scene
from app.texts.numbers import number
from app.ui.progress import WorkStep
from diffusion.derivation.c10_how_good import perturbed
from diffusion.derivation.c11_identity_table import ROWS, RowResult, Subject, run_identities
from diffusion.pipeline import DDPMLabPipeline

ALGEBRA = [row for row in ROWS if row.kind == "A"]
OTHERS = [row for row in ROWS if row.kind != "A"]
# Network calls of the rows of the other kinds, and pictures in each on average, as counted
CALLS, PICTURES = 110, 5
KEPT = 8  # schedules whose algebra is cached

_algebra: OrderedDict[tuple[str, bytes], tuple[RowResult, ...]] = OrderedDict()


def _subject(scene: Scene) -> Subject:
    lessons = scene.lessons
    recorded = None if lessons is None else lessons.quality
    return Subject(scene.denoiser(), scene.training_pictures[0], scene.test_pictures[0], recorded)


def algebra_of(scene: Scene) -> tuple[RowResult, ...]:
    """Return the rows of kind A on the scene's schedule, cached across visitors."""
    key = scene.checkpoint.sha256, scene.schedule.betas.numpy().tobytes()
    if key not in _algebra:
        _algebra[key] = tuple(run_identities(_subject(scene), ALGEBRA))
        while len(_algebra) > KEPT:
            _algebra.popitem(last=False)
    return _algebra[key]


def opened(scene: Scene, values: dict, say: Say) -> Parts:
    """Show the table with its algebra; the other rows have not run."""
    return (_table(algebra_of(scene), scene, say),)


def others_of(scene: Scene, weights: str) -> Iterator[RowResult]:
    """Run the rows of the other kinds one by one. weights: "trained", or "spoiled" for noise added to the weights."""
    subject = _subject(scene)
    if weights == "spoiled":
        unet = perturbed(scene.pipeline.with_weights().unet)
        pipeline = DDPMLabPipeline(unet=unet, scheduler=scene.pipeline.scheduler)
        subject = replace(subject, denoiser=replace(scene, pipeline=pipeline).denoiser())
    return run_identities(subject, OTHERS)


def all_rows(scene: Scene, values: dict, say: Say) -> Iterator[WorkStep[Parts]]:
    """Run all rows, one after another."""
    found = list(algebra_of(scene))
    for result in others_of(scene, values["weights"]):
        found.append(result)
        yield WorkStep(len(found), len(ROWS), lambda _, found=tuple(found): (_table(found, scene, say),))


def _table(found: Sequence[RowResult], scene: Scene, say: Say) -> str:
    results = {result.number: result for result in found}
    rows = [_row(row.number, row.kind, row.key, results.get(row.number), say) for row in ROWS]
    heads = [say(key) for key in ("row", "statement", "sides", "difference", "verdict")]
    judged = [result.passed for result in found if result.passed is not None]
    said = say("summary", held=sum(judged), run=len(judged))
    if scene.lessons is None:
        said += "\n\n" + say("nothing_to_compare")
    return f"{said}\n\n{table(heads, rows)}"


def _row(place: int, kind: str, key: str, result: RowResult | None, say: Say) -> tuple[str, ...]:
    head = (f"{place}\u00a0{kind}", say(f"claim.{key}"))
    if result is None:
        return (*head, "", "", say("not_run"))
    if result.passed is None:
        return (*head, "", "", say("nothing_recorded"))
    difference = number(result.difference, 2)
    limit = f"{number(result.tolerance, 2)} {say(result.measure)}"
    verdict = say("held" if result.passed else "failed")
    return (*head, _sides(result, say), f"{difference}<br>≤ {limit}", verdict)


def _sides(result: RowResult, say: Say) -> str:
    """Both sides, and what makes them agree although they are not the same number."""
    relation = "" if result.relation == "=" else f"{result.relation} "
    sides = f"{number(result.left, 6)}<br>{relation}{number(result.right, 6)}"
    if result.standard_error is not None:
        sides += f" ± {number(result.standard_error, 2)}"
    return f"{sides}<br>{say('stairs', width=number(result.width, 2))}" if result.width else sides


CHAPTER = Chapter(
    "11-identity-table",
    (
        Experiment(
            "all-rows",
            ("text",),
            opened,
            (Control("weights", "trained", choices=("trained", "spoiled"), live=False),),
            run=all_rows,
            calls=lambda scene, values: (CALLS, PICTURES),
            wide=True,
        ),
    ),
)
