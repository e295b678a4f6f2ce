"""Which two runs Compare has after it was sent one."""

from contextlib import suppress

from app.compare.presets import counterpart
from app.controls.panel import OF_BOTH
from app.controls.values import kept_values, linked_values, plan_run
from app.server.services import Services
from diffusion.settings import SamplingSettings


def received(
    services: Services, values: list[dict], side: int, settings: SamplingSettings, preset: str | None
) -> list[dict]:
    """Return the values of both runs' controls with the settings as run `side`. Raises ValueError if they cannot run.

    values: as they were. preset: that both runs were, if any; then the other run becomes its counterpart of the
    settings. Else it stays, but for seed and number of pictures, which are those of both; where it makes pictures of
    another size, it moves to the same checkpoint.
    """
    runs = list(values)
    runs[side] = linked_values(services, settings)
    other = runs[1 - side]
    if preset:
        beside = counterpart(preset, 1 - side, runs[side])
        with suppress(ValueError):  # it does not fit the checkpoint
            plan_run(services, beside)
            other = beside
    other = other | {name: runs[side][name] for name in OF_BOTH}
    checkpoints = [services.checkpoint(run["checkpoint"]) for run in (runs[side], other)]
    if checkpoints[1] is None or checkpoints[1].image_shape != checkpoints[0].image_shape:
        other = kept_values(services, other, checkpoints[0])
    runs[1 - side] = other
    return runs
