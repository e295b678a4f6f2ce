"""Every step count from 1 to T, against the formula in exact fractions and against diffusers."""

from fractions import Fraction
from math import floor

import pytest
from diffusers import DDIMScheduler, DDPMScheduler

from diffusion.trajectory import pairs, visited_timesteps

T = 1000
DIFFUSERS = ["leading", "linspace", "trailing"]
SPACINGS = ["even", "quadratic", "power", *DIFFUSERS]


@pytest.mark.parametrize("T", [2, 3, 10, 1000])
def test_even_is_the_rounded_formula_for_every_step_count(T):
    for S in range(2, T + 1):
        exact = [Fraction(T - 1) * (1 - Fraction(k, S - 1)) for k in range(S)]
        assert visited_timesteps(S, T) == [floor(x + Fraction(1, 2)) for x in exact]
    assert visited_timesteps(1, T) == [T - 1]
    assert visited_timesteps(T, T) == list(range(T - 1, -1, -1))


@pytest.mark.parametrize("T", [2, 3, 10, 1000])
def test_quadratic_is_the_rounded_square_except_where_that_would_repeat_itself(T):
    for S in range(2, T + 1):
        exact = [Fraction(T - 1) * Fraction(k, S - 1) ** 2 for k in reversed(range(S))]
        rounded = [floor(x + Fraction(1, 2)) for x in exact]
        found = visited_timesteps(S, T, "quadratic")
        assert [t for t, k in zip(found, reversed(range(S)), strict=True) if t != k] == [
            t for t, k in zip(rounded, reversed(range(S)), strict=True) if t > k
        ]
        if len(set(rounded)) == S:
            assert found == rounded
    assert visited_timesteps(1, T, "quadratic") == [T - 1]
    assert visited_timesteps(T, T, "quadratic") == list(range(T - 1, -1, -1))


@pytest.mark.parametrize("T", [2, 3, 10, 1000])
def test_power_is_the_rounded_power_except_where_that_would_repeat_itself(T):
    """x^1.25 rounds to n where (n - 1/2)^4 <= x^5 (T-1)^4 < (n + 1/2)^4, in exact fractions."""
    for S in range(1, T + 1):
        found = visited_timesteps(S, T, "power")
        for t, k in zip(found, reversed(range(S)), strict=True):
            fifth = Fraction(2 * k + 1, 2 * S - 1) ** 5 * (T - 1) ** 4
            rounds_to_t = (t == 0 or (t - Fraction(1, 2)) ** 4 <= fifth) and fifth < (t + Fraction(1, 2)) ** 4
            assert rounds_to_t or (t == k and fifth < (k - Fraction(1, 2)) ** 4)
    assert visited_timesteps(1, T, "power") == [T - 1]
    assert visited_timesteps(T, T, "power") == list(range(T - 1, -1, -1))
    assert visited_timesteps(10, 1000, "power") == [999, 869, 743, 622, 505, 393, 287, 188, 99, 25]


@pytest.mark.parametrize("spacing", SPACINGS)
def test_every_step_count_gives_that_many_falling_timesteps(spacing):
    for S in range(1, T + 1):
        timesteps = visited_timesteps(S, T, spacing)
        steps = pairs(timesteps)
        assert len(steps) == S
        assert all(0 <= t < T and -1 <= s < t for t, s in steps)
        assert [t for t, _ in steps[1:]] == [s for _, s in steps[:-1]]
        assert steps[-1][1] == -1
        if spacing in ("even", "quadratic", "power", "trailing"):
            assert timesteps[0] == T - 1
            assert S == 1 or spacing in ("power", "trailing") or timesteps[-1] == 0


@pytest.mark.parametrize("spacing", DIFFUSERS)
@pytest.mark.parametrize("scheduler", [DDPMScheduler, DDIMScheduler])
def test_diffusers_spacings_for_every_step_count(spacing, scheduler):
    stock = scheduler(timestep_spacing=spacing)
    longer = []
    for S in range(1, T + 1):
        stock.set_timesteps(S)
        theirs = stock.timesteps.tolist()
        if len(theirs) != S:
            assert theirs[S:] == [-1]  # one more, where np.arange's floats do not reach 0 exactly
            longer.append(S)
        assert visited_timesteps(S, T, spacing) == theirs[:S]
    assert len(longer) == (62 if spacing == "trailing" else 0)
    assert longer[:1] == ([61] if spacing == "trailing" else [])


@pytest.mark.parametrize("S", [0, -1, 1001])
@pytest.mark.parametrize("spacing", SPACINGS)
def test_step_counts_outside_are_named(S, spacing):
    with pytest.raises(ValueError, match=r"^num_inference_steps: must lie in \[1, 1000\]"):
        visited_timesteps(S, T, spacing)


def test_unknown_spacing_is_named():
    with pytest.raises(ValueError, match=r"^timestep_spacing: 'quad' is unknown"):
        visited_timesteps(10, T, "quad")
