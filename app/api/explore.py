"""The endpoints that make many runs in one call: grids, and quality against network calls."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from app.api.runs import PROGRESS_SECONDS, pngs, said, settings_object
from app.explore.run import Known, explore
from app.explore.value_names import value_names
from app.server.limits import check_cost, check_images
from app.server.services import Services
from app.texts.messages import PageError
from app.ui.images import visible
from app.ui.lazy_import import lazy_import
from diffusion.experiments.axes import FIELDS, SAMPLERS_AND_ETAS, Axis

if TYPE_CHECKING:
    from diffusion.experiments.grid import Job
    from diffusion.pipeline import DDPMLabPipeline
    from diffusion.plan import Plan

grid, quality = lazy_import("diffusion.experiments.grid"), lazy_import("diffusion.experiments.frontier")

Values = str | list  # of an axis, as a request can send them


def make_explore(services: Services) -> Callable:
    """Return the function behind /explore."""

    def explore(axes: dict, settings: dict) -> tuple[list[dict], dict]:
        """Draw a grid of runs over one to three fields. Each cell is a whole run, no snapshot; cheap runs come first.

        Args:
            axes: Each field's name with its values: a list, or a text such as "10,20,50" or "1-10[5]" (five, evenly).
                Fields: FIELDS.
            settings: The settings that all cells share: an object with the fields of /generate.

        Returns:
            The cells, the first axis varying fastest: "values" (field -> value), "settings", "images" (PNG data
            addresses, each with its recipe), "network_calls", "evaluations" and "seconds" (equal cells run once); and
            the totals. While it runs: no cells, but step and steps.
        """
        yield from _explore(services, axes, settings)

    explore.__doc__ = explore.__doc__.replace("FIELDS", ", ".join(FIELDS))
    return explore


def make_frontier(services: Services) -> Callable:
    """Return the function behind /frontier."""

    def frontier(
        settings: dict,
        num_inference_steps: str | list = "2,5,10,20",
        eta: str | list | None = None,
        samples: int = 100,
        samplers: str | list | None = None,
    ) -> dict:
        """Measure quality against network calls, one line per sampler.

        Args:
            settings: All other settings of the runs: an object with the fields of /generate.
            num_inference_steps: The step counts to measure, as the values of an axis of /explore.
            eta: The old name of samplers; give only one of the two.
            samples: Number of pictures that each KID is computed from, 20 to 2000.
            samplers: The samplers to measure, by name, as the values of an axis; by default ddim and ddpm.
                A number is ddim with that eta (so 0 is ddim, and 1 is ddpm).

        Returns:
            "points": sampler, eta, calls, measure, value, standard_error and n. For eta 0 (no fresh noise) the measure
            is "rms", between n pictures and DDIM's result of all steps from the same x_T; else "kid", between n
            samples and the checkpoint's data in its own feature space (left out if it has none). Lower is better. While
            it runs: step and steps.
        """
        yield from _frontier(services, settings, num_inference_steps, eta, samples, samplers)

    return frontier


def _explore(services: Services, axes: dict, settings: dict):
    with said():
        base = settings_object("settings", settings)
        check_images(base, services.options)
        if not isinstance(axes, dict):
            raise PageError("axes", "axes_object")
        checkpoint = services.checkpoint(base.checkpoint)
        found_axes = [
            Axis.of("axes", field, values, value_names(field, checkpoint, services.catalogue, ("en",)))
            for field, values in axes.items()
        ]

        pipeline_of = services.catalogue.pipelines()

        def planned(changes: dict) -> "tuple[DDPMLabPipeline, Plan]":
            own = grid.varied(base, changes)
            pipeline = pipeline_of(own.checkpoint)
            return pipeline, pipeline.plan(own)

        cells = grid.cells_of(found_axes, planned)
        jobs = [grid.pictures_job(cell.pipeline, cell.plan) for cell in cells]
        for progress in _run(services, jobs):
            if progress.state == "running":
                yield [], {"step": progress.done, "steps": progress.total}
        answer = []
        for cell, job in zip(cells, jobs, strict=True):
            found = progress.content.found[job.key]
            answer.append({
                "values": dict(zip(axes, cell.values(found_axes), strict=True)),
                "settings": cell.plan.settings.model_dump(mode="json"),
                "images": pngs(cell.pipeline, cell.plan, visible(found.result)),
                "network_calls": job.calls,
                "evaluations": job.evaluations,
                "seconds": round(found.seconds, 3),
            })  # fmt: skip
        yield answer, {"cells": len(cells), "network_calls": progress.total, "seconds": round(progress.seconds, 3)}


def _frontier(
    services: Services, settings: dict, steps: Values, etas: Values | None, samples: int, samplers: Values | None
):
    with said():
        base = settings_object("settings", settings)
        check_images(base, services.options)
        pipeline = services.catalogue.pipeline(base.checkpoint)
        if None not in (etas, samplers):
            raise ValueError("eta: is the old name of samplers; give one of the two")
        lines = next((given for given in (samplers, etas) if given is not None), "ddim, ddpm")
        names = value_names(SAMPLERS_AND_ETAS, None, services.catalogue, ("en",))
        axes = Axis.of("steps", "num_inference_steps", steps), Axis.of("samplers", SAMPLERS_AND_ETAS, lines, names)
        wanted = quality.measurements(pipeline, base, *axes, samples, services.catalogue.feature_space(base.checkpoint))
        for progress in _run(services, [job for one in wanted for job in one.jobs]):
            if progress.state == "running":
                yield {"step": progress.done, "steps": progress.total}
        results = {key: found.result for key, found in progress.content.found.items()}
        yield {"points": [asdict(one.point(results)) for one in wanted]}


def _run(services: Services, jobs: "Sequence[Job]"):
    check_cost(services.options, *{job.key: job for job in jobs}.values())
    yield from explore(jobs, Known(), every_seconds=PROGRESS_SECONDS)
