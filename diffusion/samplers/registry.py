"""Which samplers there are. Whatever lists them, checks a name or counts calls looks here; without torch."""

from diffusion.samplers.ancestral import DDIM, DDPM
from diffusion.samplers.base import UNREAD, Sampler
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
    """Whether the sampler of this name reads a setting of UNREAD. name: whatever was sent; what is none reads none."""
    return isinstance(name, str) and name in SAMPLERS and field in SAMPLERS[name].reads


def unread(name) -> dict:
    """The settings that the sampler of this name does not read, as they stand beside it."""
    return {field: value for field, value in UNREAD.items() if not reads(name, field)}


def choices() -> str:
    """The names as an error says them: 'ddim', 'ddpm' or 'unipc'."""
    *others, last = map(repr, SAMPLERS)
    return f"{', '.join(others)} or {last}"
