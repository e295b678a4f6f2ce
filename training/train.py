"""The training command: `accelerate launch -m training.train --preset NAME` (or plain `python -m training.train`)."""

import argparse
import os
import signal
import sys
from pathlib import Path

import torch
import tyro
from accelerate import Accelerator

from diffusion.console import accept_any_encoding
from training.config import TrainConfig
from training.data import DataError
from training.export import export_run
from training.loop import Training, TrainingStopped
from training.milestones import milestone_passed, save_milestone
from training.presets import NO_PRESET, PRESETS, preset
from training.reporting import Reporter
from training.snapshots import contact_sheet, held_out_eps_mse, sample_grid
from training.start import prepare
from training.states import Run, RunError, release_run, run_folder, save_state

SIGNALS = [signal.SIGINT, signal.SIGTERM]
if hasattr(signal, "SIGHUP"):  # the terminal was closed; Windows has none
    SIGNALS.append(signal.SIGHUP)


def main(arguments: list[str] | None = None) -> int:
    """Train as the command line says. Returns the exit status; errors that the user can fix print one sentence."""
    try:
        config, dry_run = parse(sys.argv[1:] if arguments is None else arguments)
        if dry_run:
            print(config.model_dump_json(indent=1))
            return 0
        return train(config)
    except (DataError, RunError, TrainingStopped, ValueError, OSError) as error:
        print(f"training: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:  # before the first step; afterwards StopSignal handles Ctrl-C
        return 128 + signal.SIGINT


def parse(arguments: list[str]) -> tuple[TrainConfig, bool]:
    """Parse a preset's fields, overridden by each field's flag. Returns the config, and whether to only print it."""
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--preset")
    first.add_argument("--dry-run", action="store_true")
    chosen, rest = first.parse_known_args(arguments)
    fields = preset(chosen.preset) if chosen.preset else dict(NO_PRESET)
    if (asked := os.environ.get("ACCELERATE_MIXED_PRECISION")) in ("bf16", "fp16"):
        fields["mixed_precision"] = asked  # what accelerate launch says, unless the training's own flag says another
    flags = {argument.split("=")[0] for argument in rest}
    if "--steps" in flags and "--minutes" not in flags:
        fields.update(minutes=None, steps=1)  # --steps alone replaces the preset's minutes; the flag sets the value
    description = (
        f"{TrainConfig.__doc__} --preset NAME sets the defaults below; "
        f"there are {', '.join(PRESETS)}, and now it is {chosen.preset or 'none'}. "
        "--dry-run prints the settings and stops."
    )
    config = tyro.cli(
        TrainConfig, args=rest, default=TrainConfig(**fields), prog="python -m training.train", description=description
    )
    return config, chosen.dry_run


def train(config: TrainConfig) -> int:
    """Train, save, report and export one run. Returns 0, or 128 + the signal that stopped it (its state is saved)."""
    try:
        return _train(*prepare(config))
    finally:
        release_run(config)


def _train(training: Training, run: Run) -> int:
    config = training.config
    accelerator, folder = training.accelerator, run_folder(config)
    accelerator.print(describe(training))
    accelerator.init_trackers(config.name, init_kwargs={"tensorboard": {"purge_step": training.progress.step}})
    reporter = Reporter(accelerator, folder, config.num_train_timesteps, config.log_every, training.progress)
    stop = StopSignal(accelerator)
    done = training.progress.fraction(config)
    try:
        for record in training.steps():
            reporter.step(record)
            if milestone := milestone_passed(done, record.fraction, config.milestones):
                save_milestone(training, milestone)
            done = record.fraction
            stopped, ended = stop.received(), record.fraction == 1
            if stopped or ended or record.step % config.save_every == 0:
                reporter.flush()  # the log must hold every step before a saved state
                save_state(accelerator, folder, record.step, config.keep_states)
            if stopped:
                reporter.say(
                    f"stopped at step {record.step}, its state is saved; resume with the same command and --resume"
                )
                return 128 + stop.number
            if ended or record.step % config.sample_every == 0:
                take_snapshot(training, reporter)
    finally:
        reporter.close()
    if accelerator.is_main_process:
        print(next_steps(export_run(training, run)))
    accelerator.wait_for_everyone()
    accelerator.end_training()
    return 0


def take_snapshot(training: Training, reporter: Reporter) -> None:
    """Log sample grids and held-out errors of the raw and of the EMA weights."""
    if not training.accelerator.is_main_process:
        return
    config, step = training.config, training.progress.step
    figures = {}

    def look(unet, suffix: str) -> None:
        sheet = contact_sheet(sample_grid(unet, training.schedule, config.prediction_type, training.classes))
        reporter.picture(f"samples{suffix}", step, sheet)
        figures[f"held_out_eps_mse{suffix}"] = held_out_eps_mse(
            unet, training.data.test, training.schedule, config.prediction_type, training.classes
        )

    look(training.raw_unet.eval(), "")
    with training.ema_weights() as unet:
        look(unet, "_ema")
    reporter.write(step, figures)


class StopSignal:
    """Holds SIGINT, SIGTERM or SIGHUP back until the step is done, in all processes. A second signal kills."""

    def __init__(self, accelerator: Accelerator):
        self.accelerator = accelerator
        self.number = signal.SIGTERM
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup ignores SIGHUP, so leave it ignored
                signal.signal(number, self._remember)

    def _remember(self, number: int, frame) -> None:
        self.number = number
        self.accelerator.set_trigger()
        signal.signal(number, signal.SIG_DFL)

    def received(self) -> bool:
        """Return whether any process was asked to stop."""
        return self.accelerator.check_trigger()


def describe(training: Training) -> str:
    """Describe the coming training in one line: network, data, length and hardware."""
    config, data, accelerator = training.config, training.data, training.accelerator
    height, width, channels = data.image_shape
    parameters = sum(p.numel() for p in training.raw_unet.parameters())
    classes = f"{training.classes} classes" if training.classes else "no classes"
    lengths = ((config.steps, "steps"), (config.minutes, "minutes"))
    return (
        f"{config.name}: {len(data.train)} pictures of {data.name} ({height}x{width}x{channels}, {classes}), "
        f"{parameters / 1e6:.2f} M parameters, batch {config.batch_size}, "
        f"{' or '.join(f'{value:g} {unit}' for value, unit in lengths if value)}, "
        f"{accelerator.num_processes} x {accelerator.device.type} "
        f"({torch.get_num_threads()} threads, precision {accelerator.mixed_precision})"
    )


def next_steps(target: Path) -> str:
    """Say what to do with a finished checkpoint."""
    return (
        f"\nexported to {target}\n"
        f"  look at it     {target / 'samples.png'}\n"
        f"  evaluate it    python -m training.evaluate {target}\n"
        f"  open it        python app.py\n"
        f"  publish it     hf upload YOUR-NAME/{target.name} {target}\n"
        f"  train further  python -m training.train --init-from {target} --name {target.name}-2 ..."
    )


if __name__ == "__main__":
    accept_any_encoding()
    sys.exit(main())
