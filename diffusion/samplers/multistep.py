"""Deterministic samplers of second order: DPM-Solver++ (2M) and UniPC, on diffusers' own classes.

Lu et al. 2022 (DPM-Solver++), algorithm 2, in the midpoint form; Zhao et al. 2023 (UniPC), algorithms 1 and 2 of order
2 with B_2(h) = e^h - 1. Both solve the same ordinary differential equation as DDIM. DDIM takes x_0_hat to be constant
within a step; they take it to be a smooth function of log SNR and extrapolate linearly from its last values. With a
smooth denoiser their error falls with the square of the number of steps, or faster, and DDIM's with the number. The
first step, without history, is DDIM's. UniPC's x_s is the network's next input; its correction stays inside the solver
and affects the steps after.
"""

from dataclasses import dataclass

from diffusion.samplers.base import Move, Rule, Sampler


@dataclass(frozen=True, kw_only=True)
class Multistep(Sampler):
    """A multistep scheduler of diffusers on a run's own noise levels: see _solver."""

    def rule(self, timesteps, schedule) -> Rule:
        solver = _solver(self.imports[0], timesteps, schedule)

        def step(move: Move):
            (x_s,) = solver.step(move.hat.x_0_hat, move.t, move.x_t, return_dict=False)
            return x_s

        return step

    def script_setup(self, start_step: int) -> list[str]:
        return [
            f'solver = {self.imports[0]}(num_train_timesteps=T, prediction_type="sample", solver_order=2)',
            "# The run's own noise levels, in float64: set_timesteps would round",
            f"solver.timesteps = torch.tensor(timesteps{f'[{start_step}:]' if start_step else ''})",
            "log_visited = log_alpha_bar[solver.timesteps]",
            "sigmas = torch.exp(0.5 * (torch.log(-torch.expm1(log_visited)) - log_visited))",
            "solver.sigmas = torch.cat([sigmas, torch.zeros(1, dtype=torch.float64)])",
            "solver.num_inference_steps = len(solver.timesteps)",
            "solver.set_begin_index(0)",
        ]

    def script_step(self) -> list[str]:
        return ["    (x,) = solver.step(x_0, t, x, return_dict=False)"]


def _solver(scheduler: str, timesteps: list[int], schedule):
    """Return a scheduler for one run, without its own set_timesteps, which rounds, and computes in float32.

    Its `step` takes x_0_hat, and computes in float64 wherever no picture is involved. The last step, to sigma = 0, is
    of first order in both: x_0_hat itself.
    """
    import diffusers
    import torch

    solver = getattr(diffusers, scheduler)(num_train_timesteps=len(schedule), prediction_type="sample", solver_order=2)
    solver.timesteps = torch.tensor(timesteps)
    solver.sigmas = torch.cat([schedule.log_sigma[solver.timesteps].exp(), torch.zeros(1, dtype=torch.float64)])
    solver.num_inference_steps = len(timesteps)
    solver.set_begin_index(0)
    return solver


# "power" stops short of t = 0, from where the last step would be too long to extrapolate over
DPMPP_2M = Multistep(
    name="dpmpp_2m", title="DPM-Solver++ (2M)", source="Lu et al. 2022, order 2", has_history=True, spacing="power",
    imports=("DPMSolverMultistepScheduler",),
)  # fmt: skip
UNIPC = Multistep(
    name="unipc", title="UniPC", source="Zhao et al. 2023, order 2", has_history=True, spacing="power",
    imports=("UniPCMultistepScheduler",),
)  # fmt: skip
