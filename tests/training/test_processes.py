"""Several processes that share a batch compute the same as one process."""

import pytest
import torch

from tests.training.tiny import command, run, tiny_config
from training.states import latest_state, run_folder

LAUNCH = ("-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1")
NO_MORE = ("--mixed_precision", "no", "--dynamo_backend", "no", "--num_cpu_threads_per_process", "1")


def relative_distance(a: torch.Tensor, b: torch.Tensor) -> float:
    return (torch.linalg.norm(a.double() - b.double()) / torch.linalg.norm(b.double())).item()


@pytest.mark.slow  # starts three Python processes that import PyTorch and diffusers
def test_two_processes_compute_the_gradient_and_the_weights_of_one(tmp_path):
    """The same global batch; the clipping norm is out of reach, so that the gradient is the raw one."""
    records = {}
    for processes, launcher in ((1, ()), (2, (*LAUNCH, *NO_MORE))):
        config = tiny_config(tmp_path / str(processes), max_grad_norm=1e9, steps=20)
        target = tmp_path / f"{processes}.pt"
        arguments = command(config, *launcher, "-m", "tests.training.first_gradient", str(target))
        result = run(arguments)
        assert result.returncode == 0, result.stderr[-3000:]
        records[processes] = torch.load(target, weights_only=True)
        assert records[processes]["processes"] == processes
    assert relative_distance(records[2]["gradient"], records[1]["gradient"]) < 1e-5
    assert relative_distance(records[2]["weights"], records[1]["weights"]) < 1e-3


@pytest.mark.slow  # the same six times
def test_two_processes_train_save_export_and_resume(tmp_path):
    config = tiny_config(tmp_path, save_every=10, sample_every=10)
    result = run(command(config, *LAUNCH, *NO_MORE, "-m", "training.train"))
    assert result.returncode == 0, result.stderr[-3000:]
    assert "2 x cpu" in result.stdout and result.stdout.count("exported to") == 1
    assert latest_state(run_folder(config)).name == "step-000000020"
    longer = tiny_config(tmp_path, save_every=10, sample_every=10, steps=30, resume=True)
    result = run(command(longer, *LAUNCH, *NO_MORE, "-m", "training.train"))
    assert result.returncode == 0, result.stderr[-3000:]
    assert latest_state(run_folder(longer)).name == "step-000000030"


def test_accelerates_own_cpu_flag_which_starts_one_process_is_refused_with_the_way_out(tmp_path):
    launcher = ("-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2")
    result = run(command(tiny_config(tmp_path), *launcher, "-m", "training.train"))
    assert result.returncode != 0
    assert "accelerate launch --multi_gpu --num_processes 2 -m training.train --cpu" in result.stderr


def test_a_batch_that_two_processes_cannot_share_is_one_clear_error(tmp_path):
    result = run(command(tiny_config(tmp_path, batch_size=15), *LAUNCH, *NO_MORE, "-m", "training.train"))
    assert result.returncode != 0
    assert "training: batch_size: 15 cannot be shared equally by 2 processes" in result.stderr
