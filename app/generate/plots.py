"""Plots and CSV of a planned run. Pure functions; see app/ui/charts.py for the meaning of the colours."""

from collections.abc import Iterator

import torch

from app.texts import say
from app.ui.charts import DOTS, MARKED, NETWORK, NOISE, PICTURE, Axis, Chart, Layer
from app.ui.csv_files import csv_address
from diffusion.plan import Plan
from diffusion.schedule import NoiseSchedule

POINTS = 120  # per curve: more cannot be told apart on the page
T = Axis("t", has_grid=False)


def schedule_plots(plan: Plan, language: str) -> list[Chart]:
    """Return the plots shown before a run: signal and noise at each t, the betas, and the network's noise levels."""
    return [amplitudes(plan, language), betas(plan, language), log_snrs(plan, language)]


def amplitudes(plan: Plan, language: str) -> Chart:
    """Plot sqrt(alpha-bar) and sqrt(1 - alpha-bar) over t, with the steps of the run."""
    names = {say(language, "plots.signal"): PICTURE, say(language, "plots.noise"): NOISE}
    layers = []
    for schedule, is_trained in _schedules(plan):
        grid = _grid(len(schedule))
        log_alpha_bar = schedule.log_alphas_cumprod[grid]
        values = torch.exp(0.5 * log_alpha_bar), (-torch.expm1(log_alpha_bar)).sqrt()
        for (name, color), y in zip(names.items(), values, strict=True):
            layers.append(Layer("line", name, color, grid, y.tolist(), dashed=is_trained))
    visited = [t for t, _ in plan.run_pairs]
    few = len(visited) <= MARKED
    layers.append(Layer("rug", "", "", visited, [0.0] * len(visited), opacity=0.8 if few else 0.25))
    if few:
        layers.append(Layer("point", "", PICTURE, visited, plan.schedule.alphas_cumprod[visited].sqrt().tolist()))
    if plan.lacks_signal:  # the stroke is what pure noise lacks
        name, first = say(language, "plots.lacks_signal"), visited[0]
        layers.append(Layer("span", name, NETWORK, [first], [plan.signal_left], base=[0.0]))
    return Chart(say(language, "plots.alt_amplitudes"), T, Axis(name=" ", nice=True), layers)


def betas(plan: Plan, language: str) -> Chart:
    """Plot beta over t, on a logarithmic axis."""
    name, layers = say(language, "plots.beta"), []
    for schedule, is_trained in _schedules(plan):
        grid = _grid(len(schedule))
        layers.append(Layer("line", name, NOISE, grid, schedule.betas[grid].tolist(), dashed=is_trained))
    y = Axis(log=True, values=[10.0**-k for k in range(7)], name=" ", nice=True)
    return Chart(say(language, "plots.alt_betas"), T, y, layers, names_one=True)


def log_snrs(plan: Plan, language: str) -> Chart:
    """Plot the log SNR of the pictures that the network gets, and the log SNR that it is conditioned on, over t."""
    levels = plan.noise_levels
    keep = _grid(len(levels.t))
    layers = []
    for key, color, log_sigma in (("fed", NOISE, levels.actual), ("told", NETWORK, levels.conditioned)):
        y, dots = (-2 * log_sigma[keep]).tolist(), DOTS if len(keep) <= MARKED else 0
        name = say(language, f"plots.{key}")
        layers.append(Layer("line", name, color, levels.t[keep].tolist(), y, dashed=key == "told", dots=dots))
    return Chart(say(language, "plots.alt_levels"), T, Axis("log SNR", nice=True), layers)


def schedule_csv(plan: Plan) -> str:
    """Return a data: address that holds a CSV file of what the plots show, at every timestep."""
    levels = plan.noise_levels
    told = dict(zip(levels.t.tolist(), (-2 * levels.conditioned).tolist(), strict=True))
    columns = {
        "t": range(len(plan.schedule)),
        "beta": plan.schedule.betas.tolist(),
        "alpha_bar": plan.schedule.alphas_cumprod.tolist(),
        "log_snr": (-2 * plan.schedule.log_sigma).tolist(),
        "trained_beta": plan.trained.betas.tolist(),
        "trained_alpha_bar": plan.trained.alphas_cumprod.tolist(),
        "log_snr_told_where_visited": [told.get(float(t)) for t in range(len(plan.schedule))],
    }
    return csv_address(columns, zip(*columns.values(), strict=True))


def _schedules(plan: Plan) -> Iterator[tuple[NoiseSchedule, bool]]:
    """Yield (schedule, is_trained): the trained one for comparison if it differs, then the run's own, drawn on top."""
    if not plan.on_trained_betas:
        yield plan.trained, True
    yield plan.schedule, False


def _grid(count: int) -> list[int]:
    if count <= POINTS:
        return list(range(count))
    return sorted({round(k * (count - 1) / (POINTS - 1)) for k in range(POINTS)})
