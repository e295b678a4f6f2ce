"""The endpoint /bound: the variational bound of one picture, term by term."""

from collections.abc import Callable

from app.api.runs import said
from app.server.services import Services
from app.ui.lazy_import import lazy_import
from diffusion.settings import SamplingSettings
from diffusion.words import BetaScheduleName

bound_answer = lazy_import("app.api.bound_answer")


def make_bound(services: Services) -> Callable:
    """Return the function behind /bound."""

    def bound(
        checkpoint: str,
        picture: int = 1,
        image: str | None = None,
        class_label: int | None = None,
        evaluations: int = 64,
        seed: int = 0,
        beta_schedule: BetaScheduleName | None = None,
        beta_start: float | None = None,
        beta_end: float | None = None,
    ) -> dict:
        """The variational bound of one picture, in bits per dimension, with each of its measured terms.

        Args:
            checkpoint: Name of the checkpoint's folder.
            picture: Number, from 1, of one of the checkpoint's test pictures; the network is conditioned on its class.
            image: A picture of your own instead, as a data URI or plain base64; it is fitted to the network's size.
            class_label: The class that the network is conditioned on for your own picture; none if left out.
            evaluations: Network calls: steps up to t = 20 and a stratified sample of the others; from T on, all.
            seed: Seed of the noise, and of the sample of steps.
            beta_schedule: Shape of the betas; as trained if left out.
            beta_start: First beta; as trained if left out.
            beta_end: Last beta; as trained if left out.

        Returns:
            bits_per_dim: for the reverse variances posterior and beta, the estimate of the bound and its
            standard_error, which covers the draws of L_0 and the choice of steps, but not the noise of steps that are
            measured once; prior_bpd (L_T); decoder_bpd (L_0) by variance; class_label that the network was conditioned
            on; and terms: for every evaluated step t to s, the number of steps it counts for, the errors of x_0_hat
            and eps_hat, and its bpd by variance.
        """
        with said():
            settings = SamplingSettings(
                checkpoint=checkpoint,
                seed=seed,
                class_label=class_label,
                beta_schedule=beta_schedule,
                beta_start=beta_start,
                beta_end=beta_end,
            )
            return bound_answer.answer(services, settings, picture, image, class_label, evaluations)

    return bound
