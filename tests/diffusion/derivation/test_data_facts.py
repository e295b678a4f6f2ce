"""Facts of two atoms by quadrature, of random pictures by eigenvalues and z-scores, of the pixel faces as measured."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from diffusion.bound import BoundVariance
from diffusion.derivation.data_facts import DataFacts, largest_variance, measure_levels
from diffusion.derivation.data_limits import (
    breaks,
    mmse_area,
    split_step,
    staircase,
    steps_needed,
    teeth,
    three_layers,
)
from diffusion.exact import DataDenoiser
from diffusion.gaussian import Prediction, eps_from_x_0, level_at, step_coefficients
from diffusion.pixels import to_unit_range
from diffusion.schedule import NoiseSchedule
from diffusion.trajectory import visited_timesteps

LINEAR = NoiseSchedule.named()
AB = np.append(np.cumprod(1 - np.linspace(1e-4, 0.02, 1000)), 1.0)
ATOMS = torch.tensor([-1.0, 1.0]).reshape(2, 1, 1, 1)
FACES = Path(__file__).parents[3] / "checkpoints" / "pixel-faces" / "reference" / "train.npz"


def of_two_atoms(ab):
    """(E H(w) in nats, mmse) of x_0 = +-1 by quadrature: x_0 = 1 has the log odds 2 signal x_t / noise^2."""
    z = np.linspace(-10, 10, 20_001)
    x = math.sqrt(ab) + math.sqrt(1 - ab) * z  # x_0 = 1, by symmetry
    logit = 2 * math.sqrt(ab) * x / (1 - ab)
    p, q = np.exp(-np.logaddexp(0, -logit)), np.exp(-np.logaddexp(0, logit))
    entropy = p * np.logaddexp(0, -logit) + q * np.logaddexp(0, logit)
    mass = np.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    return np.trapezoid(mass * entropy, z), np.trapezoid(mass * 4 * p * q, z)


def facts_of(pictures, schedule, timesteps, **options):
    seed = options.setdefault("seed", 0)
    return DataFacts.gather(list(measure_levels(pictures, schedule, timesteps, **options)), pictures, schedule, seed)


@pytest.mark.parametrize(("kind", "price"), [("posterior", 0.113843), ("beta", 0.021532), ("analytic", 0.021517)])
def test_golden_layers_of_two_atoms(kind: BoundVariance, price):
    schedule = NoiseSchedule(torch.tensor([0.4, 0.5]))  # alpha-bar .6 and .3
    c = step_coefficients(1, 0, schedule)
    (entropy_t, mmse), (entropy_s, _) = of_two_atoms(0.3), of_two_atoms(0.6)
    var = {"posterior": c.posterior_var, "beta": c.beta, "analytic": c.posterior_var + c.c_0**2 * mmse}[kind]
    entropies = (torch.tensor(x, dtype=torch.float64) for x in (entropy_t, entropy_s, mmse))
    information, gaussian = split_step(c, var, *entropies, dims=1)
    assert information.item() == pytest.approx(0.254436, abs=5.1e-7)
    assert gaussian.item() == pytest.approx(price, abs=5.1e-7)


def test_measured_facts_of_two_atoms():
    timesteps = visited_timesteps(40, 1000)
    facts = facts_of(ATOMS, LINEAR, timesteps, draws=4000, seed=3)
    assert facts.t.tolist() == timesteps[::-1]
    for k, t in enumerate(facts.t.tolist()):
        entropy, mmse = of_two_atoms(AB[t])
        for values, truth in ((facts.entropy_nats[k], entropy), (facts.posterior_var[k], mmse)):
            assert abs(values.mean() - truth) < 4.5 * values.std() / math.sqrt(4000) + 1e-4  # rarer than a draw
    # the only direction there is: its variance is the posterior variance; 1 / sum w^2 from it
    torch.testing.assert_close(facts.top_variance, facts.posterior_var[:, :16], rtol=1e-6, atol=1e-5)
    p = 0.5 * (1 + (1 - facts.posterior_var).clamp(min=0).sqrt())
    torch.testing.assert_close(facts.effective, 1 / (p**2 + (1 - p) ** 2), rtol=1e-6, atol=1e-6)
    area = mmse_area(facts)
    assert area.log_pictures == pytest.approx(math.log(2))
    assert area.entropy_side_nats == pytest.approx(math.log(2), abs=1e-9)
    assert abs(area.area_nats - area.entropy_side_nats) < 4.5 * area.difference_se_nats + 0.005  # of the trapezoids
    for variance in ("posterior", "beta", "analytic"):
        layers = three_layers(facts, [999, 589, 307, 0], variance)  # not all of them on the grid
        assert layers.network_nats is None
        for k, (t, s) in enumerate(zip(layers.t.tolist(), layers.s.tolist(), strict=True)):
            (entropy_t, mmse), (entropy_s, _) = of_two_atoms(AB[t]), of_two_atoms(AB[s])
            beta = 1 - AB[t] / AB[s]
            btilde, c_0 = beta * (1 - AB[s]) / (1 - AB[t]), math.sqrt(AB[s]) * beta / (1 - AB[t])
            var = {"posterior": btilde, "beta": beta, "analytic": btilde + c_0**2 * mmse}[variance]
            r, u = btilde / var, c_0**2 / btilde * mmse
            price = 0.5 * (r * (1 + u) - math.log(r) - 1) - (entropy_t - entropy_s)
            assert layers.information_nats[k].item() == pytest.approx(entropy_t - entropy_s, abs=0.03)
            assert abs(layers.gaussian_nats[k].item() - price) < 4.5 * layers.gaussian_se_nats[k] + 0.02 * abs(price)


def random_pictures(count=300, shape=(1, 4, 4)):
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(5)) * 2 - 1


@pytest.mark.parametrize(("t", "count"), [(300, 300), (600, 300), (999, 300), (700, 4200)])
def test_largest_variance_is_the_largest_eigenvalue(t, count):
    pictures = random_pictures(count, (3, 13, 13)) if count > 300 else random_pictures()  # the larger set is in float32
    pictures = pictures * torch.linspace(0.3, 1, pictures[0].numel()).reshape(pictures[0].shape)
    x_0 = pictures[:4].double()
    x_t = math.sqrt(AB[t]) * x_0 + math.sqrt(1 - AB[t]) * torch.randn_like(x_0)
    weights = DataDenoiser(pictures, LINEAR).log_weights(x_t, t).exp()
    found = largest_variance(pictures, weights)
    y = pictures.double().flatten(1)
    for w, ours in zip(weights, found.tolist(), strict=True):
        centred = y - w @ y
        truth = torch.linalg.eigvalsh(centred.T @ (w.unsqueeze(1) * centred))[-1].item()
        assert truth * (1 - 0.02) < ours < truth * (1 + 1e-5)


class Shifted:
    """The exact denoiser, off by a constant."""

    def __init__(self, pictures, by):
        self.exact, self.by, self.schedule = DataDenoiser(pictures, LINEAR), by, LINEAR

    def predict(self, x_t, t, level=None):
        x_0_hat = self.exact.predict(x_t, t).x_0_hat + self.by
        return Prediction(x_0_hat, eps_from_x_0(x_t, x_0_hat, *level_at(t, LINEAR)))


def test_the_networks_layer_and_pythagoras():
    pictures = 0.5 * random_pictures(50)  # with room for the shift: nothing is clipped
    timesteps = [999, 700, 500, 300, 100]
    facts = facts_of(pictures, LINEAR, timesteps, draws=600, network=Shifted(pictures, 0.1))
    torch.testing.assert_close(facts.network_gap, torch.full((5, 600), 0.01, dtype=torch.float64), rtol=1e-6, atol=0)
    for row in facts.network_mse - facts.posterior_var - facts.network_gap:
        assert abs(row.mean()) < 4.5 * row.std() / math.sqrt(600) + 1e-9
    layers = three_layers(facts, timesteps, "posterior")
    for k, (t, s) in enumerate(zip(layers.t.tolist(), layers.s.tolist(), strict=True)):
        delta = AB[s] / (1 - AB[s]) - AB[t] / (1 - AB[t])
        assert layers.network_nats[k].item() == pytest.approx(0.5 * delta * 16 * 0.01, rel=1e-6)
        whole = layers.information_nats[k] + layers.gaussian_nats[k] + layers.network_nats[k]
        u = delta * (facts.posterior_var + facts.network_gap).mean(1)[(facts.t == t).nonzero().item()]
        assert whole.item() == pytest.approx(16 * u.item() / 2, rel=1e-6)
    best = three_layers(facts, timesteps, "analytic")
    total = sum(best.information_nats + best.gaussian_nats + best.network_nats)
    other = sum(layers.information_nats + layers.gaussian_nats + layers.network_nats)
    assert total < other


def test_facts_go_to_a_file_and_come_back(tmp_path):
    pictures = random_pictures(20)
    for network in (None, Shifted(pictures, 0.1)):
        facts = facts_of(pictures, LINEAR, [10, 500, 900], draws=8, cov_draws=4, seed=7, network=network)
        facts.save(tmp_path / "facts.npz")
        again = DataFacts.load(tmp_path / "facts.npz")
        for name, value in vars(facts).items():
            same = getattr(again, name)
            assert torch.equal(same, value) if isinstance(value, torch.Tensor) else same == value
        assert (again.pictures, again.dims, again.seed, again.top_variance.shape) == (20, 16, 7, (3, 4))
    repeated = facts_of(pictures, LINEAR, [500, 900, 10], draws=8, cov_draws=4, seed=7)
    assert torch.equal(repeated.entropy_nats, facts.entropy_nats)  # neither the order nor the network matters
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    with pytest.raises(ValueError, match=r"^path:"):
        DataFacts.load(tmp_path / "other.npz")


def test_between_the_grids_timesteps():
    facts = facts_of(random_pictures(100), LINEAR, visited_timesteps(30, 1000), draws=8)
    same = facts.at(facts.t.tolist())
    torch.testing.assert_close(same.posterior_var, facts.posterior_var, rtol=1e-12, atol=0)
    torch.testing.assert_close(same.entropy_nats, facts.entropy_nats, rtol=1e-12, atol=1e-14)
    measured = facts_of(random_pictures(100), LINEAR, [450, 620], draws=8)
    between = facts.at([620, 450])
    assert between.t.tolist() == [450, 620]
    torch.testing.assert_close(between.entropy_nats, measured.entropy_nats, rtol=0.05, atol=0.05)
    torch.testing.assert_close(between.posterior_var, measured.posterior_var, rtol=0.05, atol=0.01)
    with pytest.raises(ValueError, match=r"^timesteps:"):
        facts_of(random_pictures(9), LINEAR, [10, 20], draws=2, cov_draws=1).at([5])


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"draws": 1}, "draws"),
        ({"cov_draws": 0}, "cov_draws"),
        ({"timesteps": [1000]}, "timesteps"),
        ({"pictures": random_pictures(1)}, "pictures"),
    ],
)
def test_what_is_refused(options, name):
    options = {"pictures": random_pictures(3), "schedule": LINEAR, "timesteps": [5, 9]} | options
    with pytest.raises(ValueError, match=f"^{name}:"):
        measure_levels(**options)
    facts = facts_of(random_pictures(3), LINEAR, [0, 9], draws=2, cov_draws=1)
    assert breaks(facts, 1000).u_max[0].isnan().all()
    with pytest.raises(ValueError, match=r"^num_inference_steps:"):
        breaks(facts, 0)
    with pytest.raises(ValueError, match=r"^levels:"):
        DataFacts.gather([], random_pictures(3), LINEAR, 0)
    with pytest.raises(ValueError, match=r"^timesteps:"):
        staircase(facts, [9])


@pytest.fixture(scope="module")
def faces():
    with np.load(FACES) as stored:
        return to_unit_range(stored["images"])


def test_golden_area_and_staircases_of_pixel_faces(faces):
    timesteps = [0, *range(240, 720, 30), 800, 900, 999]
    facts = facts_of(faces[:4000], LINEAR, timesteps, draws=32, cov_draws=1)
    area = mmse_area(facts)
    assert area.entropy_side_nats == pytest.approx(math.log(4000), abs=1e-6)
    assert abs(area.area_nats - area.entropy_side_nats) < 4.5 * area.difference_se_nats
    assert area.area_nats == pytest.approx(8.39, abs=4.5 * area.area_se_nats)
    before = area.area_nats
    for S, golden in ((100, 9.1), (33, 10.6), (20, 11.3), (10, 17.4)):
        stairs = staircase(facts, visited_timesteps(S, 1000))
        assert stairs.total_nats == pytest.approx(golden, rel=0.2)  # heavy tails: 64 other draws there
        assert bool((stairs.nats >= 0).all())
        assert stairs.information_nats.sum().item() == pytest.approx(
            (facts.entropy_nats[-1] - facts.entropy_nats[0]).mean().item(), abs=1e-9
        )
        assert stairs.total_nats > before
        before = stairs.total_nats


def test_golden_breaks_of_pixel_faces(faces):
    facts = facts_of(faces, LINEAR, [299, 399], draws=16)
    for S, golden in ((1000, 0.02), (50, 0.44), (10, 3.4), (4, 28)):
        row = breaks(facts, S)
        assert row.median[1].item() == pytest.approx(golden, rel=0.15)
        assert bool((row.quantile(0.25) <= row.median).all())
    effective = facts.effective.mean(1).tolist()
    ends = facts_of(faces, LINEAR, [0, 999], draws=4, cov_draws=1).effective.mean(1).tolist()
    assert effective[0] == pytest.approx(1.0, abs=0.2)
    assert effective[1] == pytest.approx(2.8, rel=0.5)
    assert ends == pytest.approx([1, 9940], rel=0.002)


@pytest.fixture(scope="module")
def few_levels():
    return facts_of(random_pictures(), LINEAR, [0, 40, 150, 300, 420, 999], draws=8)


def test_as_many_steps_as_needed_have_the_u_max_that_was_asked_for(few_levels):
    variance = np.median(few_levels.top_variance.numpy(), axis=1)
    snr = AB[:-1] / (1 - AB[:-1])
    for most in (0.01, 1.0, 30.0):
        found = steps_needed(few_levels, most).tolist()
        assert math.isnan(found[0])  # t = 0 has no step with s >= 0
        for t, var, steps in zip(few_levels.t.tolist(), variance, found, strict=True):
            u = lambda stride, t=t, var=var: (snr[t - stride] - snr[t]) * var  # noqa: E731
            if math.isnan(steps):
                assert t == 0 or u(t) <= most * (1 + 1e-9)
            elif math.isinf(steps):
                assert u(1) > most
            else:
                stride = round(1000 / steps)
                assert u(stride) <= most * (1 + 1e-9) < u(stride + 1) * (1 + 2e-9)
    with pytest.raises(ValueError, match=r"^most: "):
        steps_needed(few_levels, 0.0)


def test_the_area_below_the_teeth_is_that_of_the_stairs(few_levels):
    stairs = staircase(few_levels, visited_timesteps(12, 1000))
    log_snr, height = teeth(stairs, LINEAR, 2001)
    assert len(log_snr) == 11 * 2001 and bool((log_snr.diff() >= 0).all())
    per_tooth = torch.trapezoid(height.reshape(11, -1), log_snr.reshape(11, -1), dim=1)
    torch.testing.assert_close(per_tooth, stairs.nats, rtol=1e-5, atol=1e-12)
    with pytest.raises(ValueError, match=r"^points: "):
        teeth(stairs, LINEAR, 1)
