"""The endpoint /generate, for programs: the same settings as everywhere, and PNGs of the very pixels."""

import time
from collections.abc import Callable
from typing import Literal

import gradio as gr

from app.form import check_cost, check_images
from app.pictures import data_uri, picture, png
from app.runs import watch
from app.shop import Shop
from diffusion.conditioning import Conditioning
from diffusion.recipe import Recipe
from diffusion.sampling import ReverseVariance
from diffusion.schedule import BetaScheduleName
from diffusion.settings import SamplingSettings
from diffusion.trajectory import TimestepSpacing

PROGRESS_SECONDS = 1.0


def make_generate(shop: Shop) -> Callable:
    """The function behind /generate."""

    def generate(
        checkpoint: str,
        sampler: Literal["ddpm", "ddim"] = "ddim",
        num_inference_steps: int = 50,
        timestep_spacing: TimestepSpacing = "even",
        start_step: int = 0,
        eta: float | None = None,
        reverse_variance: ReverseVariance = "posterior",
        clip_sample: bool = True,
        beta_schedule: BetaScheduleName | None = None,
        beta_start: float | None = None,
        beta_end: float | None = None,
        conditioning: Conditioning = "matched",
        seed: int = 0,
        num_images: int = 1,
        class_label: int | list[int] | None = None,
        guidance_scale: float = 1.0,
    ) -> tuple[list[str], dict]:
        """Draw pictures with a checkpoint, by DDPM or DDIM.

        Args:
            checkpoint: Name of the checkpoint's folder.
            sampler: ddpm or ddim.
            num_inference_steps: Steps, from 1 to the T of the checkpoint.
            timestep_spacing: Which timesteps: even, leading, linspace or trailing.
            start_step: Steps left out at the noisy end.
            eta: Share of fresh noise in ddim, 0 to 1.
            reverse_variance: Variance of a ddpm step: posterior or beta.
            clip_sample: Clamp each predicted picture to [-1, 1].
            beta_schedule: Shape of the betas; as trained if left out.
            beta_start: First beta; as trained if left out.
            beta_end: Last beta; as trained if left out.
            conditioning: On other betas: tell the network the matched noise level, or (naive) the same timestep.
            seed: Picture i is made from seed + i.
            num_images: How many pictures.
            class_label: Number of the class of all pictures, or a list with one for each.
            guidance_scale: 1 is the conditional network; above 1 is exaggerated.

        Returns:
            The pictures as PNG data addresses at their own size, each with its recipe in the text chunk "ddpm-lab";
            and the run: settings, network evaluations, seconds. While it runs: no pictures, and step and steps.
        """
        fields = {name: value for name, value in locals().items() if name in SamplingSettings.model_fields}
        yield from _generate(shop, fields)

    return generate


def _generate(shop: Shop, fields: dict):
    try:
        settings = SamplingSettings(**fields)
        pipeline = shop.catalogue.pipeline(settings.checkpoint)
        check_images(settings, shop.options)
        plan = pipeline.plan(settings)
        check_cost(shop.options, plan)
        start = time.monotonic()
        for moment in watch(pipeline, settings, every_seconds=PROGRESS_SECONDS):
            if moment.state == "running":
                yield [], {"step": moment.step, "steps": moment.steps}
        made_by, sha256 = pipeline.denoiser(plan).description, shop.catalogue.checkpoint(settings.checkpoint).sha256
        images = []
        for number, pixels in enumerate(moment.x_t):
            part = settings.part(number, number + 1)
            recipe = Recipe.of(part, pixels[None], sha256, settings.num_images, made_by)
            images.append(data_uri(png(picture(pixels), recipe)))
        seconds = round(time.monotonic() - start, 3)
        run = {"settings": settings.model_dump(mode="json"), "evaluations": plan.evaluations, "seconds": seconds}
        yield images, run
    except ValueError as error:
        raise gr.Error(str(error), print_exception=False) from None
