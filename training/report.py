"""Keeps an evaluation in its checkpoint: evaluation.json, and the tables of the model card."""

import json
from pathlib import Path

from diffusion.checkpoint import checkpoint_sha256
from diffusion.metrics.texture import FLAT, GRAIN
from training.card import write_evaluation
from training.safe_files import write_json

FILE = "evaluation.json"


def merge(checkpoint: Path, found: dict) -> dict:
    """Merge new results into the known ones of a checkpoint; results of other weights are dropped."""
    file, key = checkpoint / FILE, checkpoint_sha256(checkpoint)
    known = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    if known.get("checkpoint_sha256") != key:
        known = {"checkpoint_sha256": key}
    if "fid" in found:
        rows = {(row["sampler"], row["steps"], row["n"]): row for row in known.get("fid", []) + found["fid"]}
        found = found | {"fid": list(rows.values())}
    return known | found


def report(checkpoint: Path, found: dict) -> None:
    """Write the results so far into the checkpoint's JSON and card, part by part, so that a stop loses nothing."""
    write_json(checkpoint / FILE, found)
    write_evaluation(
        checkpoint, as_markdown(found), f"python -m training.evaluate checkpoints/{checkpoint.resolve().name}"
    )


def as_markdown(found: dict) -> str:
    """Format all parts that were measured, one table each."""
    writers = {
        "fid": _fid_table,
        "texture": _texture_table,
        "accuracy": _accuracy_table,
        "neighbours": _neighbours_table,
        "bits": _bits_table,
    }
    return "\n\n".join(write(found[part]) for part, write in writers.items() if found.get(part))


def _fid_table(rows: list[dict]) -> str:
    lines = [
        "Distance to training pictures in the feature space of `reference/` (lower is better; not comparable with "
        "FIDs of other feature spaces). The floor is that of real test pictures in the place of the samples.",
        "",
        "| sampler | steps | N | FID | floor | KID × 1000 | floor | timesteps |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        n = _counted(row)
        lines.append(
            f"| {row['sampler'].upper()} | {row['steps']} | {n} | {number(row['fid'])} | {number(row['floor_fid'])} "
            f"| {_kid(row, '')} | {_kid(row, 'floor_')} | {_spacing(row)} |"
        )
    return "\n".join(lines)


def number(value: float | None, digits: int = 3) -> str:
    """Return a number with that many digits behind the point; a dash for one that too few pictures could not give."""
    return "–" if value is None else f"{value:.{digits}f}"


def _kid(row: dict, side: str) -> str:
    value, error = row[f"{side}kid"], row[f"{side}kid_standard_error"]
    return "–" if value is None else f"{1000 * value:.2f} ± {1000 * error:.2f}"


def _texture_table(found: dict) -> str:
    lines = [
        f"Fine texture of {found['n']:,} samples ({found['sampler'].upper()}-{found['steps']}, {_spacing(found)} "
        f"timesteps) and of test pictures. Pairs are pixels side by side or below each other: flat ones are at most "
        f"{FLAT} levels apart, grain is {FLAT + 1} to {GRAIN} levels. FID in a space of such differences, which sees "
        f"grain: {number(found['fid'], 4)} (floor: {number(found['floor_fid'], 4)}, N = {_counted(found)}).",
        "",
        "| | flat pairs | grain | values of 0 | values of 255 |",
        "|---|---|---|---|---|",
    ]
    for name, key in (("samples", "samples"), ("test pictures", "real")):
        shares = (found[key][share] for share in ("flat", "grain", "black", "white"))
        lines.append(f"| {name} | " + " | ".join(f"{share:.1%}" for share in shares) + " |")
    return "\n".join(lines)


def _counted(run: dict) -> str:
    """Return N, with the number of pictures behind the floor if that is another."""
    return f"{run['n']:,}" if run["floor_n"] == run["n"] else f"{run['n']:,} (floor: {run['floor_n']:,})"


def _spacing(run: dict) -> str:
    """Return a run's timestep spacing; evaluations that do not record it used `even`."""
    return f"`{run.get('timestep_spacing', 'even')}`"


def _accuracy_table(found: dict) -> str:
    lines = [
        f"The classifier of `reference/` sees the right class in {found['real']:.1%} of real test pictures, and in "
        f"these shares of samples ({found['sampler'].upper()}-{found['steps']}, {_spacing(found)} timesteps):",
        "",
        "| guidance | N | all | worst class |",
        "|---|---|---|---|",
    ]
    for row in found["samples"]:
        lines.append(f"| {row['guidance_scale']:g} | {row['n']:,} | {row['all']:.1%} | {min(row['each']):.1%} |")
    return "\n".join(lines)


def _neighbours_table(found: dict) -> str:
    lines = [
        f"Distance in feature space to the nearest of {found['training_pictures']:,} training pictures, for "
        f"{found['n']:,} samples and {found.get('held_out_pictures', found['n']):,} test pictures; copies would be "
        "nearer than test pictures are. "
        f"Samples identical to their nearest training picture: {found['identical']}. `neighbours.png`: samples above, "
        "their nearest training pictures below.",
        "",
        "| | " + " | ".join(f"{q:.0%} are nearer than" for q in found["quantiles"]) + " |",
        "|---|" + "---|" * len(found["quantiles"]),
    ]
    for name, key in (("samples", "samples"), ("test pictures", "held_out")):
        lines.append(f"| {name} | " + " | ".join(f"{value:.2f}" for value in found[key]) + " |")
    return "\n".join(lines)


def _bits_table(found: dict) -> str:
    """Format bits per dimension and the error of the predicted noise."""
    lines = [
        f"On {found['pictures']} test pictures, {found['evaluations']} network calls each, EMA weights, no guidance"
        + (", each picture with its own class" if found["conditional"] else "")
        + ":",
        "",
        "| reverse variance | bits/dim (upper bound, lower is better) | of which the fixed variance alone |",
        "|---|---|---|",
    ]
    for name, bits in found["bits"].items():
        symbol = {"posterior": "β̃ (posterior)", "beta": "β"}[name]
        lines.append(f"| {symbol} | ≤ {bits['bpd']:.3f} ± {bits['standard_error_bpd']:.3f} | {bits['floor_bpd']:.3f} |")
    quarters = " | ".join(f"{value:.5f}" for value in found["eps_mse"])
    return "\n".join(
        [
            *lines,
            "",
            "| quarter of [0, T), from the least noisy | 1st | 2nd | 3rd | 4th |",
            "|---|---|---|---|---|",
            f"| mean squared error of the predicted noise | {quarters} |",
        ]
    )
