"""Listings exist, equal the code that runs, and are reported if they are missing."""

import ast

import pytest

from diffusion.derivation import listings
from diffusion.derivation.listings import LISTINGS, ROOM, listing

# a line without which a listing is no longer what the chapter speaks of
TELLING = {
    "algorithm-1": "answer = model(x_t, t, **labels).sample",
    "algorithm-1-draws": "torch.randn(x_0.shape, generator=generator",
    "algorithm-1-step": "gradient = torch.autograd.grad(",
    "algorithm-2": "hat = ask(x_t, t, c.level_t)",
    "algorithm-2-step": "mean + per_image(std, mean) * move.noise()",
    "algorithm-2-mean": "family_var = eta**2 * c.posterior_var",
    "q-sample": "per_image(signal, x_0) * x_0 + per_image(noise, x_0) * eps",
    "q-posterior": "per_image(c.c_0, x_0) * x_0 + per_image(c.c_t, x_0) * x_t",
    "step-coefficients": "posterior_var=beta * var_s / var_t",
    "x-0-from-eps": "(x_t - per_image(noise, x_t) * eps) / per_image(signal, x_t)",
    "kl": "0.5 * (ratio - 1 - torch.log(ratio) + (mean_1 - mean_2).square() / var_2)",
    "decoder": "lower = torch.where(x_0 < -EDGE, -torch.inf, lower)",
    "prior": "alpha_bar * second_moment - alpha_bar - torch.log1p(-alpha_bar)",
    "term": "0.5 * (ratio * (1 + u) - torch.log(ratio) - 1)",
    "exact": "self.log_weights(x_t, t).exp()",
}


@pytest.mark.parametrize("key", LISTINGS)
def test_every_listing_is_there_and_says_what_it_should(key):
    found = listing(key)
    assert TELLING[key] in found.code
    source = (ROOM.parent / found.file).read_text(encoding="utf-8").splitlines()
    name = found.name.rpartition(".")[2]
    assert source[found.first_line - 1].strip().startswith(f"def {name}(")
    (function,) = ast.parse(found.code).body
    assert function.name == name and ast.get_docstring(function) is None
    assert all(line in "\n".join(source) for line in map(str.strip, found.code.splitlines()))


def test_a_listing_that_is_gone_is_missed(monkeypatch):
    listing.cache_clear()
    monkeypatch.setitem(LISTINGS, "prior", ("bound.py", "no_such_function"))
    with pytest.raises(ValueError, match=r"^listing: 'prior' is gone: diffusion/bound.py has no no_such_function"):
        listing("prior")
    with pytest.raises(ValueError, match=r"^listing: 'nothing' is unknown; known are algorithm-1"):
        listing("nothing")
    listing.cache_clear()


def test_no_file_outside_the_package_is_read():
    assert ROOM.name == "diffusion"
    assert all((ROOM / file).resolve().is_relative_to(ROOM) for file, _ in listings.LISTINGS.values())
