"""Exact resume: a run killed at any moment and resumed ends with the weights of a run that never stopped."""

import os
import shutil
import signal
import subprocess
import time

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from PIL import Image

from tests.training.tiny import REPOSITORY, command, run, same_tensors, state_weights, tiny_config
from training import export
from training.data import DataError
from training.features import data_of
from training.start import prepare
from training.states import checkpoint_folder, latest_state, run_folder
from training.train import main

LONG = dict(steps=60, save_every=7, sample_every=30, dropout=0.1, flip=True)


def finished(config) -> tuple[dict, list[torch.Tensor]]:
    """The raw and the EMA weights in the last state of a run."""
    AcceleratorState._reset_state(reset_partial_state=True)
    training, _ = prepare(config.model_copy(update={"resume": True}))
    assert training.progress.step == config.steps
    return state_weights(latest_state(run_folder(config))), training.ema.shadow_params


def start(config) -> subprocess.Popen:
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    return subprocess.Popen(
        command(config),
        cwd=REPOSITORY,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored where the tests run behind an `&`
    )


def wait_for_step(config, step: int, process: subprocess.Popen) -> None:
    """Until a state at or past `step` is on the disk."""
    deadline = time.monotonic() + 120
    while (state := latest_state(run_folder(config))) is None or int(state.name.split("-")[1]) < step:
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture(scope="module")
def never_stopped(tmp_path_factory):
    config = tiny_config(tmp_path_factory.mktemp("whole"), **LONG)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DDPM_LAB_DATA", str(REPOSITORY / "tests" / "data"))
        result = run(command(config))
        assert result.returncode == 0, result.stderr
        return finished(config)


@pytest.mark.slow  # kills real processes, each of which imports PyTorch and diffusers
def test_killed_twice_and_resumed_is_bit_identical(tmp_path, never_stopped, capsys):
    config = tiny_config(tmp_path, **LONG, resume=True)
    for at_least, after in ((7, 0.0), (21, 0.05)):
        process = start(config)
        wait_for_step(config, at_least, process)
        time.sleep(after)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert main(command(config)[3:]) == 0
    assert "going on from step-" in capsys.readouterr().out
    weights, ema = finished(config)
    assert same_tensors(weights, never_stopped[0])
    assert all(torch.equal(a, b) for a, b in zip(ema, never_stopped[1], strict=True))


@pytest.mark.slow  # the same, stopped by signals
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(("number", "send"), [(signal.SIGTERM, os.kill), (signal.SIGINT, os.killpg)])
def test_a_polite_stop_saves_at_once_and_goes_on_bit_identically(tmp_path, never_stopped, workers, number, send):
    """SIGTERM to the training; Ctrl-C, as a terminal sends it, to all processes of it, its workers too."""
    config = tiny_config(tmp_path, **LONG | dict(save_every=1000), resume=True, workers=workers)
    process = start(config)
    output = ""
    while "images/s" not in output:  # the progress bar: the loop has begun
        chunk = os.read(process.stdout.fileno(), 4096).decode(errors="replace")
        assert chunk, output
        output += chunk
    send(process.pid, number)
    output += process.communicate(timeout=120)[0]
    assert process.returncode == 128 + number, output
    assert "its state is saved" in output
    assert latest_state(run_folder(config)) is not None
    assert main(command(config)[3:]) == 0
    assert same_tensors(finished(config)[0], never_stopped[0])


def test_a_half_written_state_is_never_taken_for_a_whole_one(tmp_path):
    config = tiny_config(tmp_path, save_every=10)
    assert main(command(config)[3:]) == 0
    states = run_folder(config) / "states"
    assert sorted(path.name for path in states.iterdir()) == ["step-000000010", "step-000000020"]
    (states / "step-000000020").rename(states / ".step-000000020")
    assert latest_state(run_folder(config)).name == "step-000000010"


def test_a_kill_while_a_state_is_removed_leaves_no_half_of_it(tmp_path, monkeypatch):
    config = tiny_config(tmp_path, save_every=5, keep_states=1)
    original = shutil.rmtree

    def killed(path, *args, **kwargs):
        if not args and not kwargs and "step-000000005" in str(path):
            (path / "optimizer.bin").unlink()
            raise KeyboardInterrupt
        original(path, *args, **kwargs)

    monkeypatch.setattr(shutil, "rmtree", killed)
    assert main(command(config)[3:]) == 128 + signal.SIGINT
    monkeypatch.undo()
    monkeypatch.setenv("DDPM_LAB_DATA", str(REPOSITORY / "tests" / "data"))
    assert latest_state(run_folder(config)).name == "step-000000010"
    assert main([*command(config)[3:], "--resume"]) == 0


def test_a_leftover_of_a_killed_export_is_no_obstacle(tmp_path):
    config = tiny_config(tmp_path)
    for rest in (".tiny.old/unet", ".tiny.partial/unet"):
        (tmp_path / "checkpoints" / rest).mkdir(parents=True)
    assert main(command(config)[3:]) == 0
    assert main([*command(tiny_config(tmp_path, steps=22))[3:], "--resume"]) == 0
    assert [path.name for path in (tmp_path / "checkpoints").iterdir() if not path.name.endswith(".partial")] == [
        "tiny"
    ]


def test_a_refused_overwrite_has_deleted_nothing(tmp_path, capsys):
    assert main(command(tiny_config(tmp_path))[3:]) == 0
    before = sorted(path for path in (tmp_path / "runs").rglob("*"))
    for wrong in (dict(block_out_channels=(8,) * 6), dict(data="nowhere"), dict(init_from="nowhere")):
        assert main([*command(tiny_config(tmp_path, **wrong))[3:], "--overwrite"]) == 1
    assert sorted(path for path in (tmp_path / "runs").rglob("*")) == before


def test_a_refused_run_leaves_no_trace_that_stands_in_the_way(tmp_path, capsys):
    first = tiny_config(tmp_path, output_dir=str(tmp_path / "first"))
    assert main(command(first)[3:]) == 0
    second = tiny_config(tmp_path, output_dir=str(tmp_path / "second"))
    assert main(command(second)[3:]) == 1
    assert not run_folder(second).exists()


def test_the_state_is_saved_before_the_samples_are_drawn(tmp_path):
    config = tiny_config(tmp_path, sample_every=10, save_every=10)
    (run_folder(config) / "samples" / "samples-000000010.png").mkdir(parents=True)  # no file can be written there
    assert main(command(config)[3:]) == 1
    assert latest_state(run_folder(config)).name == "step-000000010"


def test_names_beyond_ascii_resume(tmp_path):
    folder = tmp_path / "Köpfe 头像"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(20):
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    config = tiny_config(tmp_path, data=str(folder), image_size=8, batch_size=32)
    assert main(command(config)[3:]) == 0  # a batch larger than the data
    assert (
        main([*command(tiny_config(tmp_path, data=str(folder), image_size=8, batch_size=32, steps=22))[3:], "--resume"])
        == 0
    )


def test_old_states_are_dropped(tmp_path):
    config = tiny_config(tmp_path, save_every=4, keep_states=3)
    assert main(command(config)[3:]) == 0
    states = sorted(path.name for path in (run_folder(config) / "states").iterdir())
    assert states == ["step-000000012", "step-000000016", "step-000000020"]


def test_nothing_is_overwritten_by_a_slip(tmp_path, capsys):
    config = tiny_config(tmp_path, save_every=10)
    assert main(command(config)[3:]) == 0
    assert main(command(config)[3:]) == 1
    assert "already holds a training at step-000000020: add --resume" in capsys.readouterr().err
    other = tiny_config(tmp_path, output_dir=str(tmp_path / "other-runs"))
    assert main(command(other)[3:]) == 1
    assert "already holds a checkpoint of another training" in capsys.readouterr().err
    assert main([*command(other)[3:], "--overwrite"]) == 0


def test_another_training_is_not_resumed_by_mistake(tmp_path, capsys, monkeypatch):
    config = tiny_config(tmp_path)
    assert main(command(config)[3:]) == 0
    assert main([*command(tiny_config(tmp_path, learning_rate=2e-3))[3:], "--resume"]) == 1
    assert "--learning-rate was 0.001 and is now 0.002" in capsys.readouterr().err
    assert main([*command(tiny_config(tmp_path, data="mnist"))[3:], "--resume"]) == 1
    assert "the pictures are not those that the run began with" in capsys.readouterr().err


def test_the_same_pictures_elsewhere_resume_export_and_are_found_again(tmp_path, capsys):
    here, there = tmp_path / "here", tmp_path / "there"
    rng = np.random.default_rng(0)
    for number in range(40):
        path = here / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(path)
    config = tiny_config(tmp_path, data=str(here), image_size=8)
    assert main(command(config)[3:]) == 0
    here.rename(there)
    folder, checkpoint = str(run_folder(config)), checkpoint_folder(config)
    assert export.main([folder]) == 1
    assert "say where with --data" in capsys.readouterr().err
    with pytest.raises(DataError, match="say where with --data"):
        data_of(checkpoint)
    assert len(data_of(checkpoint, str(there)).train) == 36
    assert export.main([folder, "--data", str(there)]) == 0
    assert len(data_of(checkpoint).train) == 36  # the export wrote where they lie now
    there.rename(here)
    assert main([*command(tiny_config(tmp_path, data=str(here), image_size=8, steps=24))[3:], "--resume"]) == 0
    assert export.main([folder]) == 0  # and so did the resumed run
    (here / "a" / "0.png").unlink()
    assert export.main([folder]) == 1
    assert "the pictures are not those that the run began with" in capsys.readouterr().err


def test_a_finished_run_can_be_made_longer(tmp_path):
    assert main(command(tiny_config(tmp_path))[3:]) == 0
    longer = tiny_config(tmp_path, steps=30, resume=True)
    assert main(command(longer)[3:]) == 0
    assert latest_state(run_folder(longer)).name == "step-000000030"


def test_the_log_holds_every_step_once_after_a_kill(tmp_path):
    config = tiny_config(tmp_path, save_every=10, log_every=3)
    assert main(command(config)[3:]) == 0
    folder = run_folder(config)
    metrics = folder / "metrics.jsonl"
    metrics.write_text(metrics.read_text() + '{"step": 99, "loss": 1.0}\n{"step": 100, "lo')
    longer = tiny_config(tmp_path, steps=24, log_every=3, resume=True)
    assert main(command(longer)[3:]) == 0
    steps = [int(line.split(",")[0].split(":")[1]) for line in metrics.read_text().splitlines() if '"loss"' in line]
    assert steps == sorted(set(steps)) and 99 not in steps
