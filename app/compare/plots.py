"""The divergence of two runs, as a plot and as CSV. Pure functions."""

from collections.abc import Sequence

from app.texts import say
from app.ui.charts import DOTS, MARKED, NOISE, PICTURE, Axis, Chart, Layer
from app.ui.csv_files import csv_address
from diffusion.experiments.comparison import Divergence


def divergence(divergences: Sequence[Divergence], language: str) -> Chart:
    """Plot the distance between two runs over log SNR: from noise on the left to the pictures on the right."""
    x, dots = [one.log_snr for one in divergences], DOTS if len(divergences) <= MARKED else 0
    layers = []
    for field, color in (("x_0_hat", PICTURE), ("x_t", NOISE)):
        y = [getattr(one, field) for one in divergences]
        layers.append(Layer("line", say(language, f"plots.apart_{field}"), color, x, y, dots=dots))
    axes = Axis("log SNR", has_grid=False), Axis(say(language, "plots.rms"), zero=True, nice=True)
    return Chart(say(language, "plots.alt_divergence"), *axes, layers)


def divergence_csv(divergences: Sequence[Divergence]) -> str:
    """Return the distances as a data: address that holds a CSV file."""
    rows = [(*one.numbers, one.log_snr, one.x_t, one.x_0_hat) for one in divergences]
    return csv_address(("step_of_a", "step_of_b", "log_snr", "rms_x_t", "rms_x_0_hat"), rows)
