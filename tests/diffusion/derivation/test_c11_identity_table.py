"""The table of identities: all hold, each can fail alone, and a broken network fails in the right rows."""

import copy
import dataclasses
import functools
import inspect
import math

import numpy as np
import pytest
import torch

from diffusion.denoisers import NetworkDenoiser
from diffusion.derivation.c10_how_good import Recorded, layer_draws, quality, record_quality, without_class
from diffusion.derivation.c11_identity_table import ROWS, Subject, run_identities
from diffusion.exact import DataDenoiser, GaussianDenoiser
from diffusion.sampling import image_generators
from diffusion.schedule import NoiseSchedule
from tests.networks import make_unet

SCHEDULE = NoiseSchedule.named(num_train_timesteps=30, beta_start=2e-3, beta_end=0.35)
LINEAR = NoiseSchedule.named()


def grid_pictures(count, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(60, 200, (count, 1, 8, 8), generator=generator).float() / 127.5 - 1


def subject_of(unet, schedule=SCHEDULE, recorded=None):
    return Subject(without_class(unet, schedule), grid_pictures(40, 1), grid_pictures(20, 2), recorded)


@pytest.fixture(scope="module")
def subject():
    plain = subject_of(make_unet())
    return dataclasses.replace(plain, recorded=record_quality(plain.denoiser, plain.exact, plain.held_out))


@pytest.fixture(scope="module")
def results(subject):
    """Of all rows, by number."""
    return {result.number: result for result in run_identities(subject)}


def failed(subject, rows=None):
    return [result.number for result in run_identities(subject, rows) if not result.passed]


def test_the_table_is_whole():
    assert [row.number for row in ROWS] == list(range(1, 18))
    kinds = {kind: [row.number for row in ROWS if row.kind == kind] for kind in "ABCD"}
    assert kinds == {"A": [1, 2, 3, 4, 5, 6, 7, 16], "B": [8, 9, 10, 11, 12], "C": [13, 14, 15], "D": [17]}
    assert len({row.key for row in ROWS}) == 17


def test_every_row_holds_and_reports_both_sides(results):
    assert list(results) == list(range(1, 18))
    for result in results.values():
        assert result.passed, result
        assert math.isfinite(result.left) and math.isfinite(result.right)


@pytest.mark.parametrize("kind", ["epsilon", "sample", "v_prediction"])
@pytest.mark.parametrize("classes", [0, 3])
def test_rows_hold_for_other_networks(kind, classes):
    other = subject_of(make_unet(classes=classes), NoiseSchedule.named("squaredcos_cap_v2", num_train_timesteps=24))
    other = dataclasses.replace(other, denoiser=without_class(other.denoiser.unet, other.schedule, kind))
    assert failed(other) == [17]  # nothing is recorded


def test_the_papers_schedule_and_a_denoiser_that_is_no_network():
    gaussian = GaussianDenoiser(torch.zeros(1, 8, 8), 0.4, LINEAR)
    plain = Subject(gaussian, grid_pictures(40, 1), grid_pictures(20, 2))
    assert failed(plain, [row for row in ROWS if row.kind != "D"]) == []


def replaced(**fields):
    """A change of a dataclass: each named field times a number."""
    return lambda value: dataclasses.replace(value, **{k: factor * getattr(value, k) for k, factor in fields.items()})


def off_grid(value):
    return dataclasses.replace(value, grid=dataclasses.replace(value.grid, var=1.0001 * value.grid.var))


def off_analytic(variances):
    return {pair: 1.5 * variance if pair[1] >= 0 else variance for pair, variance in variances.items()}


WRONG = {  # of each row the formula that is wrong, an argument of its check, and the change of what it returns
    1: ("coefficients", replaced(beta=1 + 1e-9)),
    2: ("two_ways", replaced(jump=1 + 1e-9)),
    3: ("witnesses", off_grid),
    4: ("eta_parts", replaced(fresh=1 + 1e-9)),
    5: ("coefficients", replaced(delta=1 + 1e-9)),
    6: ("gaussian_toy", replaced(posterior_nats=1.001)),
    7: ("gaussian_kl", replaced(quadrature_nats=1 + 1e-6)),
    8: ("three_forms", replaced(by_noises=1 + 1e-9)),
    9: ("measure", lambda errors: [replaced(x_0_mse=1 + 1e-9)(error) for error in errors]),
    10: ("posterior", lambda value: (value[0] * (1 + 1e-6), value[1])),
    11: ("sampling_step", replaced(by_noises=1.001)),
    12: ("reverse_variances", off_analytic),
    13: ("first_form_nats", lambda value: value - 0.1),
    14: ("layer_draws", replaced(network=1.5)),
    15: ("mmse_area", replaced(entropy_side_nats=1.5)),
    16: ("tweedie", lambda value: (value[0], value[1] * 1.001)),
    17: ("quality", lambda found: found | {"bpd": 1.5 * found["bpd"]}),
}


def with_wrong(row, name, change):
    """The row, with one of its formulas replaced by one whose result is changed."""
    right = inspect.signature(row.check).parameters[name].default

    def wrong(*args, **options):
        return change(right(*args, **options))

    return dataclasses.replace(row, check=functools.partial(row.check, **{name: wrong}))


@pytest.mark.parametrize("number", WRONG)
def test_a_row_with_a_wrong_formula_fails(number, subject, results):
    (row,) = (row for row in ROWS if row.number == number)
    assert results[number].passed
    assert failed(subject, [with_wrong(row, *WRONG[number])]) == [number]


def test_a_broken_network_fails_where_quality_is_asked_for_and_nowhere_else(subject, results):
    unet = copy.deepcopy(subject.denoiser.unet)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in unet.parameters():
            weight += 0.5 * weight.std(correction=0) * torch.randn(weight.shape, generator=generator)
    broken = dataclasses.replace(subject, denoiser=NetworkDenoiser(unet, SCHEDULE))
    after = {result.number: result for result in run_identities(broken)}
    assert [number for number, result in after.items() if not result.passed] == [17]
    for row in ROWS:  # the schedule's rows do not even see the network; those of kind B show other values
        same = after[row.number].left == results[row.number].left
        assert same if row.kind == "A" else row.number in (12, 15) or not same


def test_what_is_not_a_number_fails(subject):
    class Lost:
        schedule, description = SCHEDULE, subject.denoiser.description

        def predict(self, x_t, t, level=None):
            answer = subject.denoiser.predict(x_t, t, level)
            return dataclasses.replace(answer, x_0_hat=answer.x_0_hat * math.nan)

    lost = dataclasses.replace(subject, denoiser=Lost())
    assert failed(lost, [row for row in ROWS if row.kind in "BCD"]) == [8, 9, 10, 11, 12, 13, 14, 17]


def test_an_error_of_another_kind_is_no_failed_row(subject):
    def broken(subject):
        raise ValueError("t: must be an integer timestep")
        yield

    row = dataclasses.replace(ROWS[7], check=broken)
    with pytest.raises(ValueError, match="integer timestep"):
        list(run_identities(subject, [row]))


def test_the_recorded_network_always_passes_and_by_how_much(subject):
    recorded, (row,) = subject.recorded, (row for row in ROWS if row.kind == "D")
    first = quality(subject.denoiser, subject.exact, subject.held_out, 0)
    for name, (value, error) in recorded.items():
        assert 0 < abs(first[name] - value) <= 7 / math.sqrt(8) * error
    assert set(recorded) == {"eps_mse_q0", "eps_mse_q1", "eps_mse_q2", "eps_mse_q3", "bpd", "distance"}
    far = dict(recorded, distance=Recorded(recorded["distance"].value * 2, recorded["distance"].standard_error))
    assert failed(dataclasses.replace(subject, recorded=far), [row]) == [17]


def test_the_recorded_errors_are_those_of_a_gaussian_in_closed_form():
    """x_0_hat = 0 always: the eps error is SNR times the pictures' mean square, at each of the t that are looked at."""
    schedule = NoiseSchedule.named()
    nothing = GaussianDenoiser(torch.zeros(1, 8, 8), 0.0, schedule)
    pictures = grid_pictures(16, 3)
    found = quality(nothing, DataDenoiser(pictures, schedule), pictures, 0)
    ab = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))
    squares = pictures.double().square().mean((1, 2, 3)).reshape(4, 4).mean(1).numpy()
    for q in range(4):
        t = np.array([(4 * q + k + 0.5) / 16 * 1000 for k in range(4)]).astype(int)
        assert found[f"eps_mse_q{q}"] == pytest.approx((ab[t] / (1 - ab[t]) * squares).mean(), rel=1e-9)


def test_layers_of_two_atoms():
    """x_0 = +-1, alpha-bar_s = .6, alpha-bar_t = .3, integrated on a grid."""
    schedule = NoiseSchedule(torch.tensor([0.4, 0.5], dtype=torch.float64))
    pictures = torch.tensor([1.0, -1.0]).repeat(1000).reshape(-1, 1, 1, 1)  # each many times: the same data, more draws
    linear, exact = GaussianDenoiser(torch.zeros(1, 1, 1), 1.0, schedule), DataDenoiser(pictures[:2], schedule)
    for network in (exact, linear):
        draws = layer_draws(network, pictures, 1, image_generators(0, 2000))
        rest = draws.term - draws.information - draws.gaussian - draws.network
        for values, golden in ((draws.information, 0.254436), (draws.gaussian, 0.113843), (rest, 0.0)):
            assert abs(values.mean() - golden) < 4.5 * values.std() / math.sqrt(2000)
        assert (draws.network.max() < 1e-12) == (network is exact)
