"""Chapter 6, limits set by the data alone: information, the price of a Gaussian, and the area under the mmse."""

from functools import lru_cache

import torch

from app.maths.chapter import Parts, Say
from app.maths.grids import evenly
from app.maths.scene import Scene
from app.ui.charts import EXACT, NETWORK, NOISE, PLAIN, Axis, Chart, Layer, blank
from diffusion.bound import BoundVariance
from diffusion.derivation.data_facts import DataFacts
from diffusion.derivation.data_limits import Layers, mmse_area, staircase, teeth, three_layers
from diffusion.trajectory import visited_timesteps

FEW_STEPS = 60  # chains of at most this many steps get a bar per term
TOOTH_POINTS, AREA_POINTS = 12, 600
ROUNDING_NATS = 1e-12  # a whole picture's KL below it is float64 rounding
SEEN = 0.005  # of a curve's highest point: lower values cannot be seen
HEADROOM = 1.5  # of a plot's y axis, over the curve's highest point


def layers_of_a_term(scene: Scene, values: dict, say: Say) -> Parts:
    """Show information, the price of a Gaussian and the network's error, over t."""
    facts = scene.data_facts
    if facts is None:
        return blank(say("layers_alt")), say("facts_missing")
    found = _layers(facts, min(values["steps"], scene.T), values["variance"])
    count = len(found.t)
    stack = [("information", EXACT, found.information_nats), ("price", PLAIN, found.gaussian_nats)]
    if found.network_nats is not None:
        stack.append(("network", NETWORK, found.network_nats))
    few = count <= FEW_STEPS
    keep = torch.arange(count) if few else evenly(count)
    layers, base = [], torch.zeros(count, dtype=torch.float64)
    for name, color, nats in stack:
        top = base + nats.clamp(min=0)
        layers.append(
            Layer(
                "bar" if few else "area",
                say(name),
                color,
                (found.t[keep] + 1).tolist(),
                top[keep].tolist(),
                base=base[keep].tolist(),
                width=0.7 * scene.T / count if few else None,
                opacity=0.75,
            )
        )
        base = top
    at = (found.t - (values["t"] - 1)).abs().argmin().item()
    here = found.t[at].item() + 1
    highest = (found.information_nats + found.gaussian_nats.clamp(min=0)).max().item()
    chart = Chart(
        alt=say("layers_alt"),
        x=Axis("t", domain=(0, scene.T)),
        y=Axis(say("layer_nats"), domain=(0, HEADROOM * highest)),
        layers=layers,
        marks=[(here, f"t = {here}")],
    )
    numbers = {name: _shown(nats[at].item()) for name, _, nats in stack}
    sums = {f"all_{name}": f"{nats.sum():.4g}" for name, _, nats in stack}
    said = say(
        "layers_said",
        t=here,
        s=found.s[at].item() + 1,
        se=_shown(found.gaussian_se_nats[at].item(), 1),
        all_se=f"{found.gaussian_total_se_nats:.1g}",
        steps=count,
        n=f"{facts.pictures:,}",
        log_n=f"{facts.log_pictures:.2f}",
        **{"network": "–", "all_network": "–"} | numbers | sums,
    )
    return chart, _with_note(said, scene, say)


def _shown(nats: float, digits: int = 3) -> str:
    """Format nats; values below the rounding of float64 become 0."""
    return f"{nats if abs(nats) > ROUNDING_NATS else 0.0:.{digits}g}"


@lru_cache(maxsize=64)
def _layers(facts: DataFacts, steps: int, variance: BoundVariance) -> Layers:
    return three_layers(facts, visited_timesteps(steps, len(facts.betas)), variance)


def bits_are_an_area(scene: Scene, values: dict, say: Say) -> Parts:
    """Show the mmse over the SNR, and the stairs of a chain of few steps above it."""
    facts = scene.data_facts
    if facts is None:
        return blank(say("area_alt")), say("facts_missing")
    area = mmse_area(facts)
    seen = area.log_snr[area.height > SEEN * area.height.max()].exp()
    stairs = staircase(facts, visited_timesteps(min(values["steps"], scene.T), scene.T))
    count = len(stairs.t)
    log_snr, height = teeth(stairs, facts.schedule, max(2, min(TOOTH_POINTS, AREA_POINTS // count)))
    chart = Chart(
        alt=say("area_alt"),
        x=Axis(say("snr"), log=True, domain=(seen.min().item() / 2, 4 * seen.max().item())),
        y=Axis(say("height"), domain=(0, HEADROOM * 2 * area.height.max().item())),
        layers=[
            Layer("area", say("stairs"), NOISE, log_snr.exp().tolist(), height.tolist(), opacity=0.45),
            Layer("area", say("curve"), EXACT, area.log_snr.exp().tolist(), area.height.tolist(), opacity=0.8),
        ],
    )
    said = say(
        "area_said",
        area=f"{area.area_nats:.3f}",
        se=f"{area.area_se_nats:.2g}",
        entropy=f"{area.entropy_side_nats:.3f}",
        log_n=f"{area.log_pictures:.3f}",
        steps=count + 1,
        total=f"{stairs.total_nats:.4g}",
    )
    return chart, _with_note(said, scene, say)


def _with_note(said: str, scene: Scene, say: Say) -> str:
    return said if scene.plan.on_trained_betas else f"{said} {say('facts_betas')}"
