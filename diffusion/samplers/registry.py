"""The list of samplers, used by everything that lists them, checks a name or counts calls. Imports no torch."""

from diffusion.samplers.ancestral import DDIM, DDPM
from diffusion.samplers.base import Sampler
from diffusion.samplers.heun import HEUN
from diffusion.samplers.multistep import DPMPP_2M, UNIPC

SAMPLERS: dict[str, Sampler] = {
    sampler.name: sampler
    for sampler in (
        DDIM,
        DDPM,
        DPMPP_2M,
        UNIPC,
        HEUN,
    )
}
"""By name, in the order in which a page shows them."""


def reads(name, field: str) -> bool:
    """Whether the sampler of this name reads a sampler-specific setting. name: anything that was sent."""
    return isinstance(name, str) and name in SAMPLERS and field in SAMPLERS[name].reads


def suited_spacing(name, spacing: str) -> str:
    """Return the timestep spacing of a run for which this sampler is chosen in place of another.

    A spacing that is some sampler's default follows the sampler; any other one was chosen for itself, and stays.
    """
    defaults = {known.spacing for known in SAMPLERS.values()}
    is_known = isinstance(name, str) and name in SAMPLERS
    return SAMPLERS[name].spacing if is_known and spacing in defaults else spacing


def choices() -> str:
    """Return the names as an error lists them: 'ddim', 'ddpm' or 'unipc'."""
    *others, last = map(repr, SAMPLERS)
    return f"{', '.join(others)} or {last}"
