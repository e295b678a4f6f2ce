"""From a config to a training that is ready to go on: accelerator, data, network, the run's folder and its state."""

import os
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import ProjectConfiguration

from training.config import TrainConfig
from training.data import load_data
from training.loop import Training
from training.network import as_built, build_unet, load_unet
from training.states import check_checkpoint, open_run, run_folder


def prepare(config: TrainConfig) -> tuple[Training, str]:
    """The training that this config describes, at the start or at its last saved state, and the run's id.

    Raises DataError, RunError or ValueError with what to do, before any hour is spent.
    """
    accelerator = make_accelerator(config, run_folder(config))
    data = load_data(
        config.data,
        config.image_size,
        config.color,
        config.test_fraction,
        config.resample,
        config.image_column,
        config.label_column,
        config.seed,
    )
    for warning in data.warnings:
        accelerator.print(f"warning: {warning}")
    unet = load_unet(config, data) if config.init_from else build_unet(config, data)
    data_hash = data.sha256()
    with accelerator.main_process_first():  # the others then enter the folder that the main process has opened
        follows = config if accelerator.is_main_process else config.model_copy(update={"resume": True})
        run_id, state = open_run(follows, data_hash)
    check_checkpoint(config, run_id)
    training = Training(as_built(config, unet), data, accelerator, unet)
    if state:
        accelerator.load_state(str(state))
        training.ema.to(accelerator.device)
        accelerator.print(f"going on from {state.name}, {training.progress.seconds / 60:.1f} minutes into the run")
    return training, run_id


def make_accelerator(config: TrainConfig, folder: Path) -> Accelerator:
    """Accelerate as the config asks for it. Raises ValueError, naming the field, for what this machine lacks."""
    if os.environ.get("ACCELERATE_USE_CPU") == "True" and "MASTER_ADDR" in os.environ and "RANK" not in os.environ:
        raise ValueError(
            "num_processes: `accelerate launch --cpu` starts a single process, however many it is asked for "
            "(huggingface/accelerate#2741). For several on one CPU: "
            "accelerate launch --multi_gpu --num_processes 2 -m training.train --cpu ..."
        )
    if config.threads:
        torch.set_num_threads(config.threads)
    if config.mixed_precision == "fp16" and (config.cpu or not torch.cuda.is_available()):
        raise ValueError("mixed_precision: fp16 needs a CUDA GPU; on a CPU use bf16 or no")
    try:
        return Accelerator(
            mixed_precision=config.mixed_precision,
            cpu=config.cpu or None,
            log_with=list(config.trackers) or None,
            project_config=ProjectConfiguration(project_dir=str(folder), logging_dir=str(folder / "logs")),
            dynamo_backend="inductor" if config.compile else None,
        )
    except (ValueError, ImportError) as error:
        raise ValueError(f"mixed_precision, trackers or compile: {error}") from error
