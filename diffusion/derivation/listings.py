"""Listings of the code that implements the algorithms and formulas, cut from the source so that they cannot drift.

A listing is a whole function or method without its docstring, found by name in its file's syntax tree.
"""

import ast
import textwrap
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOM = Path(__file__).resolve().parents[1]
# key -> the file in diffusion/, and the function in it
LISTINGS = {
    "algorithm-1": ("objective.py", "training_loss"),
    "algorithm-1-draws": ("derivation/c09_two_algorithms.py", "draw_batch"),
    "algorithm-1-step": ("derivation/c09_two_algorithms.py", "_trials"),
    "algorithm-2": ("samplers/base.py", "_walk"),
    "algorithm-2-step": ("samplers/ancestral.py", "Ancestral.rule"),
    "algorithm-2-mean": ("sampling.py", "reverse_mean_and_std"),
    "q-sample": ("gaussian.py", "q_sample"),
    "q-posterior": ("gaussian.py", "q_posterior"),
    "step-coefficients": ("gaussian.py", "step_coefficients"),
    "x-0-from-eps": ("gaussian.py", "x_0_from_eps"),
    "kl": ("likelihood.py", "kl_gaussians"),
    "decoder": ("likelihood.py", "discretized_nats"),
    "prior": ("bound.py", "prior_nats"),
    "term": ("bound.py", "kl_nats_per_dim"),
    "exact": ("exact.py", "DataDenoiser.predict"),
}


@dataclass(frozen=True)
class Listing:
    """A function as written in the source. file: relative to the repository. first_line: of its def, from 1.

    code: dedented, without the docstring.
    """

    key: str
    file: str
    name: str
    first_line: int
    code: str


@cache
def listing(key: str) -> Listing:
    """Return a listing by its key in LISTINGS. Raises ValueError for another key, or if the source lacks the name."""
    if key not in LISTINGS:
        raise ValueError(f"listing: {key!r} is unknown; known are {', '.join(LISTINGS)}")
    file, name = LISTINGS[key]
    source = (ROOM / file).read_text(encoding="utf-8")
    node: ast.AST = ast.parse(source)
    for part in name.split("."):
        inner = {child.name: child for child in ast.iter_child_nodes(node) if hasattr(child, "name")}
        if part not in inner:
            raise ValueError(f"listing: {key!r} is gone: {ROOM.name}/{file} has no {name}")
        node = inner[part]
    lines = source.splitlines()[: node.end_lineno]
    if ast.get_docstring(node) is not None:
        docstring = node.body[0]
        del lines[docstring.lineno - 1 : docstring.end_lineno]
    code = textwrap.dedent("\n".join(lines[node.lineno - 1 :]))
    return Listing(key, f"{ROOM.name}/{file}", name, node.lineno, code)
