"""Prepares a training from its config: accelerator, data, network, the run's folder and its saved state."""

import os
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import ProjectConfiguration, TorchDynamoPlugin, broadcast_object_list

from training.config import TrainConfig
from training.data import load_data
from training.loop import Training
from training.network import as_built, build_unet, load_unet
from training.states import Run, RunError, claim_run, run_folder, state_folder


def prepare(config: TrainConfig, alone: bool = True) -> tuple[Training, Run]:
    """Return the training of this config, at its start or at its last whole state, and its run.

    alone: keep other processes from training this run; False to export one that may be going on. Raises DataError,
    RunError or ValueError, saying what to do, before anything on disk is changed.
    """
    accelerator = make_accelerator(config, run_folder(config))
    data = load_data(config)
    warnings = list(data.warnings)
    if config.mixed_precision == "bf16" and accelerator.device.type == "cpu" and bf16_is_emulated():
        warnings.append("mixed_precision: this processor has no bf16 and emulates it many times slower; use no")
    for note in data.notes:
        accelerator.print(f"data: {note}")
    for warning in warnings:
        accelerator.print(f"warning: {warning}")
    unet = load_unet(config, data) if config.init_from else build_unet(config, data)
    training = Training(as_built(config, unet), data, accelerator, unet)
    run = _claim_together(config, data.sha256(), accelerator, alone)
    state = state_folder(config, run)
    if state:
        try:
            accelerator.load_state(str(state))
        except Exception as error:  # an unpickler or torch raises anything on what has no checksums to find it by
            raise RunError(f"{state} cannot be loaded ({error}); delete it to go on from the one before") from error
        training.ema.to(accelerator.device)
        training.ema.cur_decay_value = training.ema.get_decay(training.ema.optimization_step)  # not saved by EMA
        accelerator.print(f"going on from {state.name}, {training.progress.seconds / 60:.1f} minutes into the run")
    return training, run


def _claim_together(config: TrainConfig, data_hash: str, accelerator: Accelerator, alone: bool) -> Run:
    """Claim the run in the main process and share the outcome, or the refusal, with all processes."""
    outcome: list[Run | str | None] = [None]
    if accelerator.is_main_process:
        try:
            outcome[0] = claim_run(config, data_hash, lambda text: accelerator.print(f"warning: {text}"), alone)
        except (RunError, OSError) as error:  # or the other processes would wait for ever
            outcome[0] = str(error)
    broadcast_object_list(outcome)
    if isinstance(outcome[0], str):
        raise RunError(outcome[0])
    return outcome[0]


def bf16_is_emulated() -> bool:
    """Return whether torch computes bf16 in software: on an x86 processor without AVX-512."""
    return torch.backends.cpu.get_cpu_capability() in ("AVX2", "NO AVX")


def compile_mode(config: TrainConfig) -> str:
    """Return torch.compile's mode: with CUDA graphs on a GPU, where a network this small waits for its kernel launches.

    Several parts per step rule out CUDA graphs, because their gradients add up in memory that the graphs own.
    """
    on_gpu = torch.cuda.is_available() and not config.cpu
    return "reduce-overhead" if on_gpu and config.accumulation == 1 else "default"


SHARDING = {"DEEPSPEED": "DeepSpeed", "FSDP": "FSDP", "MEGATRON_LM": "Megatron-LM", "PARALLELISM_CONFIG": "parallelism"}


def _take_the_launchers_word(config: TrainConfig) -> None:
    """Refuse what `accelerate launch`, or its config file, asks for and this training would not do.

    Raises ValueError.
    """
    asked = os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
    if asked not in ("no", config.mixed_precision):
        can = "give the training the same flag" if asked in ("bf16", "fp16") else "this training has no, bf16 and fp16"
        raise ValueError(
            f"mixed_precision: accelerate launch asks for {asked} and the training's settings say "
            f"{config.mixed_precision}; {can}: --mixed-precision {asked if asked in ('bf16', 'fp16') else 'bf16'}"
        )
    parts = os.environ.get("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "1")
    if parts != "1":
        raise ValueError(
            f"accumulation: accelerate launch asks for {parts} steps of accumulation; say --accumulation {parts}, "
            "which splits a batch and leaves its gradient as it is"
        )
    for name, word in SHARDING.items():
        if os.environ.get(f"ACCELERATE_USE_{name}", "false").lower() in ("1", "true", "yes", "on"):
            raise ValueError(
                f"{word}: accelerate launch asks for it; a network this small fits every device and is trained by "
                "plain data parallelism (--multi_gpu), without sharding"
            )


def make_accelerator(config: TrainConfig, folder: Path) -> Accelerator:
    """Make the Accelerator of this config. Raises ValueError, naming the field that this machine cannot serve."""
    if os.environ.get("ACCELERATE_USE_CPU") == "True" and "MASTER_ADDR" in os.environ and "RANK" not in os.environ:
        raise ValueError(
            "num_processes: `accelerate launch --cpu` starts a single process, however many it is asked for "
            "(huggingface/accelerate#2741). For several on one CPU: "
            "accelerate launch --multi_gpu --num_processes 2 -m training.train --cpu ..."
        )
    _take_the_launchers_word(config)
    if config.threads:
        torch.set_num_threads(config.threads)
    if config.mixed_precision == "fp16" and (config.cpu or not torch.cuda.is_available()):
        raise ValueError("mixed_precision: fp16 needs a CUDA GPU; on a CPU use bf16 or no")
    try:
        accelerator = Accelerator(
            mixed_precision=config.mixed_precision,
            cpu=config.cpu or None,
            log_with=list(config.trackers) or None,
            project_config=ProjectConfiguration(project_dir=str(folder), logging_dir=str(folder / "logs")),
            dynamo_plugin=TorchDynamoPlugin(backend="inductor", mode=compile_mode(config)) if config.compile else None,
        )
    except (ValueError, ImportError) as error:
        raise ValueError(f"mixed_precision, trackers or compile: {error}") from error
    there = {getattr(tracker, "value", tracker) for tracker in accelerator.log_with}
    if missing := sorted(set(config.trackers) - there):  # Accelerate ignores them silently
        raise ValueError(f"trackers: {', '.join(missing)} is not installed; pip install it, or leave it out")
    return accelerator
