import json

import pytest

from tests.training.tiny import REPOSITORY, command, run, tiny_config
from training.config import TrainConfig
from training.presets import PRESETS, preset
from training.train import main, parse


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_valid_and_never_write_over_a_shipped_checkpoint(name):
    assert not (REPOSITORY / "checkpoints" / TrainConfig(**preset(name)).name).exists()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (dict(batch_size=0), "batch_size: .*greater than or equal to 1, got 0"),
        (dict(learning_rate=float("nan")), "learning_rate: .*finite"),
        (dict(beta_start=0.5, beta_end=0.1), "beta_end: .*0.1"),
        (dict(beta_end=1.0), "beta_end: .*less than 1"),
        (dict(block_out_channels=(24, 48), norm_num_groups=16), "norm_num_groups: 16 does not divide the width 24"),
        (dict(attention_levels=(3,)), r"attention_levels: must lie in \[0, 3\)"),
        (dict(attention_head_dim=48), "attention_head_dim: 48 does not divide"),
        (dict(batch_size=10, accumulation=4), "accumulation: 4 does not divide batch_size 10"),
        (dict(name="../elsewhere"), "name: "),
        (dict(steps=None), "steps, minutes: one of them"),
        (dict(prediction_type="noise"), "prediction_type: .*'epsilon', 'sample' or 'v_prediction'"),
        (dict(no_such_field=1), "no_such_field: "),
        (dict(beta_start=0.9, beta_end=0.99), "betas: too large together"),
    ],
)
def test_bad_values_are_refused_by_name(fields, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig(**{"steps": 5} | fields)


def test_a_config_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        TrainConfig(steps=5).steps = 6


def test_every_field_has_its_flag_and_reaches_the_config():
    wanted = tiny_config(REPOSITORY / "x", flip=True, class_conditional=False, minutes=3.5, trackers=("tensorboard",))
    wanted = wanted.model_copy(update={"init_from": "somewhere", "compile": True, "adam_beta1": 0.8})
    config, dry_run = parse([*command(wanted)[3:], "--preset", "mnist"])
    assert config == wanted
    assert not dry_run


def test_steps_alone_are_not_cut_short_by_a_presets_minutes():
    config, _ = parse(["--preset", "pixel-faces", "--steps", "7"])
    assert (config.steps, config.minutes) == (7, None)


def test_dry_run_prints_the_settings_and_starts_nothing(capsys, tmp_path):
    assert main(["--preset", "mnist", "--dry-run", "--output-dir", str(tmp_path / "runs")]) == 0
    assert json.loads(capsys.readouterr().out)["class_conditional"] is False
    assert not (tmp_path / "runs").exists()


def test_the_command_line_names_the_field_that_is_wrong():
    result = run([*command(tiny_config(REPOSITORY / "x"))[:3], "--batch-size", "0"])
    assert result.returncode != 0
    assert "batch_size" in result.stderr and "Traceback" not in result.stderr


def test_an_unknown_preset_is_one_line():
    result = run([*command(tiny_config(REPOSITORY / "x"))[:3], "--preset", "cifar"])
    assert result.returncode == 1
    assert result.stderr.strip() == f"training: preset: 'cifar' is unknown; known are {', '.join(PRESETS)}"


def test_an_unknown_tracker_is_refused_by_name(capsys, tmp_path):
    assert main(command(tiny_config(tmp_path, trackers=("abacus",)))[3:]) == 1
    error = capsys.readouterr().err
    assert "trackers" in error and "abacus" in error


def test_a_tracker_that_is_not_installed_is_not_passed_over_in_silence(capsys, tmp_path):
    assert main(command(tiny_config(tmp_path, trackers=("clearml",)))[3:]) == 1
    assert "trackers: clearml is not installed" in capsys.readouterr().err


def test_a_place_that_cannot_be_written_is_one_line(capsys, tmp_path):
    (tmp_path / "file").write_text("")
    assert main(command(tiny_config(tmp_path, output_dir=str(tmp_path / "file" / "runs")))[3:]) == 1
    assert capsys.readouterr().err.startswith("training: ")


def test_fp16_without_a_gpu_is_refused_by_name(capsys, tmp_path):
    config = tiny_config(tmp_path, mixed_precision="fp16")
    assert main(command(config)[3:]) == 1
    assert "mixed_precision: fp16 needs a CUDA GPU" in capsys.readouterr().err
