"""All settings of a training in one frozen, validated object; the command line is generated from its fields."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from diffusion.gaussian import PredictionType
from diffusion.objective import LossWeighting, TimestepDraw
from diffusion.schedule import BetaScheduleName, NoiseSchedule
from diffusion.words import CHECKPOINT_NAME
from training.data.config import DataConfig

Width = Annotated[int, Field(ge=4, le=4096)]


class TrainConfig(DataConfig):
    """Fit a DDPM U-Net to pictures and export it as a diffusers folder."""

    # The run
    name: str = Field("my-ddpm", pattern=CHECKPOINT_NAME, description="Name of the run and of its checkpoint.")
    output_dir: str = Field(
        "runs", min_length=1, description="Folder of the runs: states, samples and logs go to output_dir/name."
    )
    checkpoints_dir: str = Field(
        "checkpoints", min_length=1, description="Folder of the exports: the checkpoint goes to checkpoints_dir/name."
    )
    seed: int = Field(0, ge=0, lt=2**63, description="Decides the initial weights and every random number of the run.")
    resume: bool = Field(False, description="Go on from the run's last saved state, if there is one.")
    overwrite: bool = Field(
        False, description="Allow replacing a run or a checkpoint of this name that another training made."
    )
    init_from: str | None = Field(None, description="A checkpoint folder whose U-Net to start from (fine-tuning).")

    # Data: which pictures is DataConfig's
    flip: bool = Field(False, description="Mirror half of the pictures (not for digits, letters or shoes).")
    class_conditional: bool = Field(True, description="Condition the network on the class, if the data have classes.")
    label_dropout: float = Field(
        0.1, ge=0, lt=1, description="Share of labels replaced by 'no class', for classifier-free guidance."
    )

    # Network: diffusers' UNet2DModel
    block_out_channels: tuple[Width, ...] = Field(
        (32, 64, 128),
        min_length=1,
        max_length=8,
        description="Width of each level; each level after the first halves the side.",
    )
    layers_per_block: int = Field(1, ge=1, le=8, description="Residual blocks per level.")
    attention_levels: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        (), description="Levels with self-attention, 0 being full size (the middle always has it)."
    )
    attention_head_dim: int = Field(32, ge=1, description="Channels of one attention head.")
    norm_num_groups: int = Field(16, ge=1, description="Groups of the group norm; must divide every width.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout in the residual blocks.")

    # Forward process
    num_train_timesteps: int = Field(1000, ge=2, le=100_000, description="T, the number of noise levels.")
    beta_schedule: BetaScheduleName = Field("linear", description="How beta grows (diffusers' names).")
    beta_start: float = Field(1e-4, gt=0, lt=1, description="First beta.")
    beta_end: float = Field(0.02, gt=0, lt=1, description="Last beta.")

    # Objective
    prediction_type: PredictionType = Field(
        "epsilon", description="What the network predicts: the noise, the picture (sample), or v."
    )
    loss_weighting: LossWeighting = Field(
        "min_snr", description="simple: 1 for every t (L_simple). min_snr: min(SNR, gamma) on the picture's error."
    )
    snr_gamma: float = Field(5.0, gt=0, description="gamma of min_snr.")
    timestep_draw: TimestepDraw = Field(
        "stratified", description="uniform: each t from all of [0, T). stratified: one t from each equal slice."
    )

    # Optimiser: AdamW
    batch_size: int = Field(
        32, ge=1, le=65_536, description="Pictures per step, over all processes and accumulated parts together."
    )
    accumulation: int = Field(
        1, ge=1, description="Parts into which each process splits its share of a batch, to save memory."
    )
    learning_rate: float = Field(8e-4, gt=0, le=1, description="Peak learning rate.")
    lr_schedule: Literal["cosine", "constant"] = Field(
        "cosine", description="After warm-up: cosine to 0 at the end of the run, or constant."
    )
    warmup_steps: int = Field(200, ge=0, description="Steps of linear warm-up.")
    adam_beta1: float = Field(0.9, ge=0, lt=1, description="AdamW's beta1.")
    adam_beta2: float = Field(0.99, ge=0, lt=1, description="AdamW's beta2.")
    weight_decay: float = Field(1e-6, ge=0, description="AdamW's weight decay.")
    max_grad_norm: float = Field(1.0, gt=0, description="The gradient is clipped to this norm.")
    ema_max_decay: float = Field(
        0.9995, ge=0, lt=1, description="Upper limit of the EMA's decay 1 - (1 + step)^-ema_power."
    )
    ema_power: float = Field(0.75, gt=0, le=1, description="Power of the EMA's warm-up.")

    # Length: whichever ends first
    steps: int | None = Field(None, ge=1, description="Optimiser steps.")
    minutes: float | None = Field(
        None, gt=0, description="Minutes of training (sampling, saving and compiling not counted)."
    )

    # Machine
    mixed_precision: Literal["no", "bf16", "fp16"] = Field(
        "no", description="Precision of the network's arithmetic; fp16 needs a GPU."
    )
    compile: bool = Field(False, description="torch.compile the network.")
    cpu: bool = Field(False, description="Use the CPU even if there is a GPU.")
    threads: int | None = Field(
        None, ge=1, le=1024, description="CPU threads of each process; by default torch's choice."
    )
    workers: int = Field(
        0, ge=0, le=256, description="Processes that prepare batches ahead, for a GPU; 0 prepares them between steps."
    )

    # Records
    log_every: int = Field(50, ge=1, description="Steps between two records in the log (means over those steps).")
    sample_every: int = Field(1000, ge=1, description="Steps between two sample grids.")
    save_every: int = Field(500, ge=1, description="Steps between two saved states.")
    keep_states: int = Field(2, ge=1, description="How many saved states are kept.")
    milestones: int = Field(
        0, ge=0, le=20, description="EMA networks kept along the run, in half precision, at 1, 1/2, 1/4, ... of it."
    )
    trackers: tuple[str, ...] = Field(
        ("tensorboard",),
        description="Accelerate's trackers (tensorboard, wandb, aim, ...); none with --trackers alone.",
    )

    @model_validator(mode="after")
    def _fields_fit_together(self) -> Self:
        if self.steps is None and self.minutes is None:
            raise ValueError("steps, minutes: one of them must be given")
        levels = len(self.block_out_channels)
        for width in self.block_out_channels:
            if width % self.norm_num_groups:
                raise ValueError(
                    f"norm_num_groups: {self.norm_num_groups} does not divide the width {width} of block_out_channels"
                )
        if any(level >= levels for level in self.attention_levels):
            raise ValueError(f"attention_levels: must lie in [0, {levels}), got {self.attention_levels}")
        with_attention = {self.block_out_channels[level] for level in self.attention_levels} | {
            self.block_out_channels[-1]
        }
        for width in with_attention:
            if width % self.attention_head_dim:
                raise ValueError(f"attention_head_dim: {self.attention_head_dim} does not divide the width {width}")
        if self.batch_size % self.accumulation:
            raise ValueError(f"accumulation: {self.accumulation} does not divide batch_size {self.batch_size}")
        self.schedule()
        return self

    def schedule(self) -> NoiseSchedule:
        """Return the noise schedule of the forward process."""
        return NoiseSchedule.named(self.beta_schedule, self.beta_start, self.beta_end, self.num_train_timesteps)


# Settings that can change when a run is resumed: none of them affects a number that the run computes.
FREE_ON_RESUME = frozenset({
    "output_dir", "checkpoints_dir", "resume", "overwrite",
    "log_every", "sample_every", "save_every", "keep_states", "milestones", "trackers",
    "workers",
})  # fmt: skip
