import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler

from tests.training.tiny import command, run, same_tensors, state_weights, tiny_config
from training.loop import StepRecord, learning_rate_at
from training.reporting import history, means
from training.start import prepare
from training.states import latest_state, run_folder
from training.train import main, train


def trained(tmp_path, **fields):
    """A training that has gone to its end, and its records."""
    training, _ = prepare(tiny_config(tmp_path, **fields))
    return training, list(training.steps())


def test_learning_rate_is_warm_up_times_cosine():
    config = tiny_config(Path("x"), learning_rate=1.0, warmup_steps=10)
    assert learning_rate_at(0, 0.0, config) == pytest.approx(0.1)
    assert learning_rate_at(9, 0.0, config) == 1.0
    assert learning_rate_at(100, 0.25, config) == pytest.approx(math.cos(math.pi / 8) ** 2)
    assert learning_rate_at(100, 1.0, config) == pytest.approx(0.0)
    assert learning_rate_at(100, 0.9, tiny_config(Path("x"), learning_rate=1.0, lr_schedule="constant")) == 1.0


@pytest.mark.parametrize("prediction_type", ["epsilon", "sample", "v_prediction"])
@pytest.mark.parametrize("weighting", ["simple", "min_snr"])
def test_every_objective_learns(tmp_path, prediction_type, weighting):
    _, records = trained(
        tmp_path, prediction_type=prediction_type, loss_weighting=weighting, steps=60, learning_rate=5e-3
    )
    losses = [record.loss.mean().item() for record in records]
    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:5])


def test_the_first_loss_is_algorithm_1_typed_anew(tmp_path):
    """Noise by diffusers' own scheduler, the network called by hand, the mean square error by numpy."""
    training, _ = prepare(tiny_config(tmp_path, loss_weighting="simple"))
    batch = training.source.part(0, np.arange(16))
    noisy = DDPMScheduler(num_train_timesteps=1000).add_noise(batch.x_0, batch.eps, batch.t)
    with torch.no_grad():
        answer = training.raw_unet(noisy, batch.t, class_labels=batch.class_labels).sample
    by_hand = np.square(answer.numpy() - batch.eps.numpy()).mean(axis=(1, 2, 3))
    record = next(training.steps())
    order = np.argsort(record.t)
    assert np.allclose(record.loss[order], by_hand[np.argsort(batch.t)], rtol=1e-4)


def test_ema_follows_its_formula(tmp_path):
    training, _ = prepare(tiny_config(tmp_path, ema_power=0.75, ema_max_decay=0.9))
    name, weight = next((n, p) for n, p in training.raw_unet.named_parameters() if n == "conv_in.weight")
    position = [n for n, _ in training.raw_unet.named_parameters()].index(name)
    average = weight.detach().clone()
    for record in training.steps():
        decay = min(0.9, 1 - (1 + record.step - 1) ** -0.75)  # the first step's decay is 0: EMA starts at the weights
        average = decay * average + (1 - decay) * weight.detach()
    assert torch.allclose(training.ema.shadow_params[position], average, atol=1e-6)
    with training.ema_weights() as unet:
        assert torch.equal(dict(unet.named_parameters())[name], training.ema.shadow_params[position])
    assert torch.equal(dict(training.raw_unet.named_parameters())[name], weight)


def test_accumulated_parts_give_the_gradient_of_the_whole_batch(tmp_path):
    gradients = []
    for parts in (1, 4):
        training, _ = prepare(tiny_config(tmp_path / str(parts), accumulation=parts, max_grad_norm=1e9))
        next(training.steps())
        gradients.append(torch.cat([p.grad.flatten() for p in training.raw_unet.parameters()]))
    assert torch.linalg.norm(gradients[0] - gradients[1]) < 1e-5 * torch.linalg.norm(gradients[0])


def test_the_gradient_is_clipped(tmp_path):
    training, _ = prepare(tiny_config(tmp_path, max_grad_norm=0.01))
    record = next(training.steps())
    norm = torch.linalg.norm(torch.cat([p.grad.flatten() for p in training.raw_unet.parameters()]))
    assert record.grad_norm > 0.01 and norm <= 0.0101


def test_bf16_and_dropout_train_and_unconditional_networks_have_no_labels(tmp_path):
    training, records = trained(tmp_path, mixed_precision="bf16", dropout=0.1, class_conditional=False)
    assert training.raw_unet.config.num_class_embeds is None
    assert training.raw_unet.dtype == torch.float32
    assert all(torch.isfinite(record.loss).all() for record in records)


@pytest.mark.parametrize(("capability", "warns"), [("AVX2", True), ("AVX512", False)])
def test_a_processor_that_imitates_bf16_is_warned_of(tmp_path, capsys, monkeypatch, capability, warns):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    prepare(tiny_config(tmp_path, mixed_precision="bf16"))
    assert ("warning: mixed_precision" in capsys.readouterr().out) == warns


def test_minutes_end_a_run_and_drive_its_learning_rate(tmp_path):
    training, _ = prepare(tiny_config(tmp_path, steps=None, minutes=0.02))
    training.clock = itertools.count(0, 0.125).__next__  # an eighth of a second a step, whatever the machine
    records = list(training.steps())
    assert len(records) == 10 and training.progress.seconds == 1.25  # the first step at or past 1.2 s is the last
    config = training.config
    for before, record in itertools.pairwise(records):  # the clock, and not a number of steps, is the cosine's argument
        warmup = min(1, record.step / config.warmup_steps) if config.warmup_steps else 1
        cosine = (1 + math.cos(math.pi * before.fraction)) / 2
        assert record.learning_rate == pytest.approx(config.learning_rate * warmup * cosine)


def test_compiling_does_not_count_as_training(tmp_path):
    """It is in the first step, after a resume again; minutes of it would pass a short run's first milestones."""
    training, _ = prepare(tiny_config(tmp_path, steps=None, minutes=60.0))
    training.config = training.config.model_copy(update={"compile": True})  # as if; the network is as it was
    for _ in range(2):
        records = list(itertools.islice(training.steps(), 3))
        assert 0 < training.progress.seconds <= sum(record.seconds for record in records[1:])
        assert records[0].fraction == 0.0
        training.progress.seconds = 0.0


def test_a_run_of_minutes_goes_on_after_a_step_that_did_not_count(tmp_path, monkeypatch):
    """The bar has no time left to tell after a step that compiled."""
    monkeypatch.setattr(torch, "compile", lambda module, *args, **kwargs: module)
    assert train(tiny_config(tmp_path, steps=None, minutes=0.01, compile=True)) == 0


def test_a_loss_that_is_not_finite_stops_the_run_and_leaves_the_last_state(tmp_path, capsys):
    config = tiny_config(tmp_path, save_every=5)
    original = torch.Tensor.backward

    def poisoned(tensor, *args, **kwargs):
        poisoned.calls += 1
        return original(tensor * (float("nan") if poisoned.calls == 8 else 1.0), *args, **kwargs)

    poisoned.calls = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.Tensor, "backward", poisoned)
        assert main(command(config)[3:]) == 1
    error = capsys.readouterr().err
    assert "step 8: the loss is" in error and "--learning-rate" in error and "Traceback" not in error
    state = latest_state(run_folder(config))
    assert state.name == "step-000000005"
    assert main([*command(config)[3:], "--resume"]) == 0
    whole = tiny_config(tmp_path, name="whole")
    assert main(command(whole)[3:]) == 0
    assert same_tensors(state_weights(latest_state(run_folder(config))), state_weights(latest_state(run_folder(whole))))


def test_means_by_quartile():
    record = StepRecord(
        1,
        torch.tensor([1.0, 2.0, 4.0]),
        torch.tensor([1.0, 1.0, 4.0]),
        torch.tensor([0.0, 249.0, 999.0]),
        2.0,
        0.1,
        0.9,
        0.5,
        0.1,
    )
    values = means([record, record], 1000)
    assert values["loss"] == pytest.approx(7 / 3) and values["eps_mse"] == 2.0
    assert values["loss_q0"] == 1.5 and values["loss_q3"] == 4.0 and "loss_q1" not in values
    assert values["images_per_second"] == pytest.approx(6.0)


def test_the_log_the_samples_and_tensorboard_hold_what_they_promise(tmp_path):
    config = tiny_config(tmp_path, trackers=("tensorboard",), log_every=5, sample_every=10)
    result = run(command(config))
    assert result.returncode == 0, result.stderr
    for promised in ("exported to", "look at it", "open it", "publish it", "train further"):
        assert promised in result.stdout
    for promised in ("loss", "images/s", "left"):
        assert promised in result.stderr
    folder = run_folder(config)
    entries = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in entries if "loss" in entry] == [5, 10, 15, 20]
    wanted = {
        "loss",
        "loss_q0",
        "loss_q1",
        "loss_q2",
        "loss_q3",
        "eps_mse",
        "grad_norm",
        "learning_rate",
        "ema_decay",
        "images_per_second",
        "step",
    }
    assert set(entries[0]) == wanted
    assert {"held_out_eps_mse", "held_out_eps_mse_ema"} < set(entries[2])
    assert len(history(folder / "metrics.jsonl", points=2)) == 4  # two of the log, and both held-out entries
    names = {path.name for path in (folder / "samples").iterdir()}
    assert names == {f"samples{kind}-{step:09d}.png" for kind in ("", "_ema") for step in (10, 20)}
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(next((folder / "logs").rglob("events.*")).parent))
    events.Reload()
    assert {"loss", "loss_q0", "grad_norm", "held_out_eps_mse_ema"} <= set(events.Tags()["scalars"])
    assert set(events.Tags()["images"]) == {"samples", "samples_ema"}
