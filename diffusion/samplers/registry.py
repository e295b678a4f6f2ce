"""Which samplers there are. Whatever lists them, checks a name or counts calls looks here; without torch."""

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
    """Whether the sampler of this name reads a setting that not all samplers read. name: whatever was sent."""
    return isinstance(name, str) and name in SAMPLERS and field in SAMPLERS[name].reads


def choices() -> str:
    """The names as an error says them: 'ddim', 'ddpm' or 'unipc'."""
    *others, last = map(repr, SAMPLERS)
    return f"{', '.join(others)} or {last}"
