"""Faults of disks and machines: a kill at any file operation, a full disk, a flipped bit, a second training."""

import json
import os
import random
import shutil
import subprocess
import time
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DModel

from tests.training.file_faults import in_a_fork
from tests.training.tiny import REPOSITORY, command, state_weights, tiny_config
from training import export, safe_files
from training.export import export_run
from training.loop import Training
from training.start import prepare
from training.states import RunError, checkpoint_folder, claim_run, latest_state, run_folder, save_state
from training.train import main

EVERY = int(os.environ.get("DDPM_LAB_FAULTS_EVERY", "8"))  # each eighth operation in CI; `make faults` takes all


@pytest.fixture
def trained(tmp_path):
    """A run at step 4 with a state, and its checkpoint."""
    config = tiny_config(tmp_path, steps=4, save_every=2, image_size=8, milestones=2)
    assert main(command(config)[3:]) == 0
    return config


def resumed(config) -> tuple[Training, object]:
    return prepare(config.model_copy(update={"resume": True}))


def weights_of(checkpoint: Path) -> dict:
    unet = UNet2DModel.from_pretrained(checkpoint / "unet", use_safetensors=True, local_files_only=True)
    return {name: weight.clone() for name, weight in unet.state_dict().items()}


def same(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def put_back(kept: Path, place: Path) -> None:
    """Make a folder what it was when it was kept."""
    shutil.rmtree(place)
    shutil.copytree(kept, place)


def cases(count: int) -> list[int]:
    return sorted({*range(1, count + 1, EVERY), count})


def changed(training: Training) -> dict:
    """Change the EMA weights, so that the new checkpoint differs. Returns them."""
    for weight in training.ema.shadow_params:
        weight.add_(1)
    with training.ema_weights() as unet:
        return {name: weight.clone() for name, weight in unet.state_dict().items()}


@pytest.mark.slow  # one export for each file operation
@pytest.mark.parametrize("can_exchange", [True, False])
def test_an_export_killed_anywhere(trained, monkeypatch, can_exchange, record_property):
    if not can_exchange:  # as on other systems than Linux
        monkeypatch.setattr(safe_files, "exchange", lambda one, other: False)
    training, run = resumed(trained)
    target = checkpoint_folder(trained)
    old, new = weights_of(target), changed(training)
    kept = target.parent.with_name("kept")
    shutil.copytree(target.parent, kept)
    ended, count = in_a_fork(lambda _: export_run(training, run), target.parent)
    assert ended == "done" and count > 30
    assert same(weights_of(target), new)
    record_property("cases", len(cases(count)))
    for at in cases(count):
        put_back(kept, target.parent)
        ended, _ = in_a_fork(lambda _: export_run(training, run), target.parent, at, "kill")
        assert ended == "killed", (at, ended)
        if can_exchange:
            found = weights_of(target)  # at once, without any recovery
        safe_files.recover(target)
        found = weights_of(target)
        assert same(found, old) or same(found, new), at
        assert [path.name for path in target.parent.iterdir()] == [target.name]


@pytest.mark.slow  # one export for each file operation
def test_an_export_on_a_full_disk_leaves_the_old_one(trained, record_property):
    training, run = resumed(trained)
    target = checkpoint_folder(trained)
    old, new = weights_of(target), changed(training)
    kept = target.parent.with_name("kept")
    shutil.copytree(target.parent, kept)
    _, count = in_a_fork(lambda _: export_run(training, run), target.parent)
    told = 0
    record_property("cases", len(cases(count)))
    for at in cases(count):
        put_back(kept, target.parent)
        ended, _ = in_a_fork(lambda _: export_run(training, run), target.parent, at, "fill")
        found = weights_of(target)
        assert same(found, new if ended == "done" else old), (at, ended)
        if ended != "done":
            told += 1
            assert ended.startswith(f"DiskFull: {target.parent}: the disk is full: a checkpoint needs about "), ended
            assert "Traceback" not in ended
        assert [path.name for path in target.parent.iterdir()] == [target.name], at
    assert told > 0.4 * len(cases(count))


@pytest.mark.slow  # one save for each file operation
@pytest.mark.parametrize("act", ["kill", "fill"])
def test_a_save_with_a_fault_leaves_a_whole_state(trained, act, record_property):
    training, _ = resumed(trained)
    folder = run_folder(trained)
    states, kept = folder / "states", folder.with_name("kept")
    shutil.copytree(states, kept)
    data_hash = json.loads((folder / "run.json").read_text())["data_sha256"]
    old = state_weights(latest_state(folder))
    for weight in training.raw_unet.parameters():
        weight.data.add_(1)

    def save(_):
        save_state(training.accelerator, folder, 5, 2)

    ended, count = in_a_fork(save, folder)
    assert ended == "done" and count > 20
    new = state_weights(latest_state(folder))
    record_property("cases", len(cases(count)))
    for at in cases(count):
        put_back(kept, states)
        ended, _ = in_a_fork(save, folder, at, act)
        if act == "fill" and ended != "done":
            assert ended.startswith(f"DiskFull: {folder}: the disk is full: a state needs about "), ended
            assert not [path for path in states.iterdir() if path.name.startswith(".")], at
        claim_run(trained.model_copy(update={"resume": True}), data_hash)
        assert not [path for path in states.iterdir() if path.name.startswith(".")], at
        newest = latest_state(folder)
        assert safe_files.damaged_files(newest) == []
        assert same(state_weights(newest), new if newest.name.endswith("5") else old), at


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


DAMAGES = {"flip": flip, "cut": cut, "empty": lambda path: path.write_bytes(b""), "missing": Path.unlink}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_state_is_named_and_the_one_before_taken(trained, capsys, damage):
    folder = run_folder(trained)
    data_hash = json.loads((folder / "run.json").read_text())["data_sha256"]
    kept = folder.with_name("kept")
    shutil.copytree(folder / "states", kept)
    newest = latest_state(folder)
    files = sorted(path.name for path in newest.iterdir())
    assert {"model.safetensors", "optimizer.bin", "checksums.json", "run.json"} <= set(files)
    for name in files:
        put_back(kept, folder / "states")
        if name == "checksums.json" and damage == "missing":
            continue  # as a state of an earlier version
        DAMAGES[damage](newest / name)
        said = []
        run = claim_run(trained.model_copy(update={"resume": True}), data_hash, said.append)
        assert run.state == "step-000000002", name
        (line,) = said
        assert name in line or name == "checksums.json"  # a flipped checksum speaks of its file
        assert line.startswith("step-000000004 is damaged (") and "goes on from step-000000002" in line
        assert latest_state(folder).name == "step-000000002"
        assert (folder / "states" / "damaged-step-000000004").is_dir()  # nothing is thrown away


def test_a_run_goes_on_from_the_state_before_the_damaged_one_and_ends_with_the_same_weights(trained, capsys):
    newest = latest_state(run_folder(trained))
    wanted = {name: weight.clone() for name, weight in state_weights(newest).items()}  # it is mapped from the file
    flip(newest / "model.safetensors")
    assert main([*command(trained)[3:], "--resume"]) == 0
    assert "step-000000004 is damaged (model.safetensors)" in capsys.readouterr().out
    assert same(state_weights(newest), wanted)


def test_without_any_whole_state_the_run_is_refused_and_nothing_is_changed(trained, capsys):
    states = sorted((run_folder(trained) / "states").iterdir())
    for state in states:
        flip(state / "optimizer.bin")
    assert main([*command(trained)[3:], "--resume"]) == 1
    told = capsys.readouterr().err
    assert "no saved state is whole (step-000000004 is damaged (optimizer.bin); step-000000002 is damaged" in told
    assert sorted((run_folder(trained) / "states").iterdir()) == states


def test_what_another_program_puts_into_a_state_does_no_harm(trained):
    for state in (run_folder(trained) / "states").iterdir():
        (state / ".DS_Store").write_bytes(b"x")
    data_hash = json.loads((run_folder(trained) / "run.json").read_text())["data_sha256"]
    assert claim_run(trained.model_copy(update={"resume": True}), data_hash).state == "step-000000004"


def test_states_without_their_run_json_are_not_forgotten(trained):
    record = run_folder(trained) / "run.json"
    whole = json.loads(record.read_text())
    record.unlink()
    with pytest.raises(RunError, match="already holds a training at step-000000004"):
        claim_run(trained, whole["data_sha256"])
    assert claim_run(trained.model_copy(update={"resume": True}), whole["data_sha256"]).state == "step-000000004"
    assert json.loads(record.read_text()) == whole


def test_a_run_that_is_older_than_an_option_goes_on(trained):
    record = run_folder(trained) / "run.json"
    known = json.loads(record.read_text())
    del known["config"]["frames"]
    record.write_text(json.dumps(known))
    again = trained.model_copy(update={"resume": True})
    assert claim_run(again, known["data_sha256"]).state == "step-000000004"
    with pytest.raises(RunError, match="--frames was 'first' and is now 'all'"):
        claim_run(again.model_copy(update={"frames": "all"}), known["data_sha256"])


@pytest.mark.parametrize("content", [b"", b"{}", b'{"run_id": "x", "data_sha256": "y", "config": null}'])
def test_an_export_reads_a_damaged_run_json_from_a_state_and_changes_nothing(trained, capsys, content):
    record = run_folder(trained) / "run.json"
    record.write_bytes(content)
    flip(latest_state(run_folder(trained)) / "optimizer.bin")
    assert export.main([str(run_folder(trained))]) == 0
    told = capsys.readouterr().out
    assert "is restored from step-000000002" in told and "what is exported is step-000000002" in told
    assert record.read_bytes() == content and latest_state(run_folder(trained)).name == "step-000000004"


def test_a_checkpoint_that_is_a_link_is_replaced_where_it_lies(trained, tmp_path):
    target, elsewhere = checkpoint_folder(trained), tmp_path / "elsewhere"
    target.rename(elsewhere)
    target.symlink_to(elsewhere)
    training, run = resumed(trained)
    new = changed(training)
    for _ in range(2):
        export_run(training, run)
        assert target.is_symlink() and same(weights_of(elsewhere), new)
    assert [path.name for path in target.parent.iterdir()] == [target.name]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"run_id": 1}', b"\xff\xfe"])
def test_a_damaged_run_json_is_restored_from_a_state(trained, capsys, content):
    record = run_folder(trained) / "run.json"
    whole = json.loads(record.read_text())
    record.write_bytes(content)
    claim_run(trained.model_copy(update={"resume": True}), whole["data_sha256"], print)
    assert "run.json is damaged: it is restored from step-000000004" in capsys.readouterr().out
    assert json.loads(record.read_text()) == whole


def test_a_damaged_log_is_told_and_keeps_its_whole_lines(trained, capsys):
    metrics = run_folder(trained) / "metrics.jsonl"
    whole = metrics.read_bytes()
    metrics.write_bytes(b'\xff\x00{"step"\n[1]\n{"step": "x"}\n' + whole + b'{"step": 9, "lo')
    longer = tiny_config(Path(trained.output_dir).parent, **trained.model_dump(include={"save_every", "image_size"}))
    assert main([*command(longer.model_copy(update={"steps": 6, "milestones": 2}))[3:], "--resume"]) == 0
    captured = capsys.readouterr()
    assert "metrics.jsonl has 3 damaged lines" in captured.out + captured.err
    entries = [json.loads(line) for line in metrics.read_text().splitlines()]
    assert metrics.read_bytes().startswith(whole) and entries[-1]["step"] == 6


def test_a_second_training_of_the_same_run_is_refused(trained):
    """In processes of their own; the first holds the run as long as it lives, however it ends."""
    folder = run_folder(trained)
    code = (
        f"import time; from training.states import _keep_others_out; from pathlib import Path; "
        f"_keep_others_out(Path({str(folder)!r})); print('held', flush=True); time.sleep(600)"
    )
    holder = subprocess.Popen([command(trained)[0], "-c", code], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        data_hash = json.loads((folder / "run.json").read_text())["data_sha256"]
        again = trained.model_copy(update={"resume": True})
        with pytest.raises(RunError, match="another process is training this run now; choose another --name"):
            claim_run(again, data_hash)
        with pytest.raises(RunError, match="another process is training this run now"):
            claim_run(trained.model_copy(update={"overwrite": True}), data_hash)
        assert claim_run(again, data_hash, alone=False).state == "step-000000004"  # to export it
    finally:
        holder.kill()
        holder.wait()
    for _ in range(50):
        try:
            claim_run(again, data_hash)
            break
        except RunError:
            time.sleep(0.1)
    else:
        pytest.fail("a killed training still holds its run")


@pytest.mark.parametrize(
    "environment, flags, wanted",
    [
        ({"ACCELERATE_MIXED_PRECISION": "bf16"}, [], None),
        ({"ACCELERATE_MIXED_PRECISION": "bf16"}, ["--mixed-precision", "no"], "accelerate launch asks for bf16"),
        ({"ACCELERATE_MIXED_PRECISION": "fp16"}, [], "fp16 needs a CUDA GPU"),
        ({"ACCELERATE_MIXED_PRECISION": "fp8"}, [], "accelerate launch asks for fp8"),
        ({"ACCELERATE_USE_DEEPSPEED": "true"}, [], "DeepSpeed: accelerate launch asks for it"),
        ({"ACCELERATE_USE_FSDP": "true"}, [], "FSDP: accelerate launch asks for it"),
        ({"ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "4"}, [], "say --accumulation 4"),
    ],
)
def test_what_the_launcher_asks_for_is_taken_or_refused_in_one_sentence(
    tmp_path, monkeypatch, capsys, environment, flags, wanted
):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    config = tiny_config(tmp_path, steps=1, image_size=8)
    ended = main([*command(config)[3:], *flags])
    captured = capsys.readouterr()
    if wanted is None:
        assert ended == 0 and "precision bf16" in captured.out
        assert json.loads((run_folder(config) / "run.json").read_text())["config"]["mixed_precision"] == "bf16"
    else:
        assert ended == 1 and wanted in captured.err and captured.err.count("\n") == 1
        assert not run_folder(config).exists()


@pytest.mark.slow  # kills a training again and again
@pytest.mark.timeout(3600)
def test_random_kills_lose_nothing(tmp_path, record_property):
    """The short form of `make faults`, which kills 50 times: the run ends with the weights of one never killed."""
    kills = int(os.environ.get("DDPM_LAB_KILLS", "2"))
    config = tiny_config(tmp_path, steps=60, save_every=3, resume=True, image_size=8)
    calm = tiny_config(tmp_path / "calm", steps=60, save_every=3, image_size=8)
    assert main(command(calm)[3:]) == 0
    record_property("cases", kills)
    rng, left = random.Random(0), kills
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    while True:
        process = subprocess.Popen(
            command(config), cwd=REPOSITORY, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        if left:
            begun = latest_state(run_folder(config))
            while process.poll() is None and latest_state(run_folder(config)) == begun:
                time.sleep(0.01)  # imports take most of the time; the faults are in the saves
            time.sleep(rng.uniform(0, 0.5))
            process.kill()
            left -= 1
        told = process.communicate()[1].decode()
        assert process.returncode in (0, -9), told
        if process.returncode == 0 and not left:
            break
        if process.returncode == 0:  # it ended before the kill: start it again, for as many kills as were asked for
            shutil.rmtree(run_folder(config))
            shutil.rmtree(checkpoint_folder(config))
    assert same(weights_of(checkpoint_folder(config)), weights_of(checkpoint_folder(calm)))
    assert same(state_weights(latest_state(run_folder(config))), state_weights(latest_state(run_folder(calm))))
