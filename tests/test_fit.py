"""Where sites start, the schedule, density control and the loop, on small crops."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from conftest import load
from diagrams import smooth_target

from sadcodec.backends import get_backend
from sadcodec.backends.initialize import hilbert_order, initialize
from sadcodec.effort import effort_for
from sadcodec.errors import OptionError
from sadcodec.fit.density import prune, split
from sadcodec.fit.loop import control_density, fine_tune, fit, start_count
from sadcodec.fit.schedule import (
    FINAL_RATE,
    HOLD,
    PRUNE_END,
    FitOptions,
    decay,
    learning_rates,
    pruned_count,
)
from sadcodec.quantize import dequantize, quantize
from sadcodec.refine import choose_quantizer, noise_widths
from sadcodec.sites import COLOR, LOG_TAU, RADIUS, P, Q, Sites, X, Y

SHORT = FitOptions(iterations=60, radius=False)


@pytest.fixture(scope="module")
def target() -> np.ndarray:
    """float32 [64, 96, 3]: the rim of a cup, a handle and wood grain."""
    return load("coffee.png")[96:160, 96:192].astype(np.float32) / 255


@pytest.fixture(scope="module")
def cpu():
    return get_backend("cpu", 2)


def psnr(mse: float) -> float:
    return float(-10 * np.log10(max(mse, 1e-12)))


def unclamped_mse(backend, target: np.ndarray, params: np.ndarray) -> float:
    height, width = target.shape[:2]
    picture = backend.render(Sites(params), width, height)
    return float(np.mean((picture.astype(np.float64) - target) ** 2))


# Initialization


@pytest.mark.parametrize("side", [1, 2, 4, 32])
def test_a_hilbert_curve_steps_to_neighbours(side):
    order = hilbert_order(side, side)
    assert np.array_equal(np.sort(order), np.arange(side * side))
    y, x = np.divmod(order, side)
    assert (np.abs(np.diff(x)) + np.abs(np.diff(y)) == 1).all()


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 9), (13, 1), (7, 5), (33, 16)])
def test_a_hilbert_curve_over_any_image_visits_every_pixel_once(width, height):
    order = hilbert_order(width, height)
    assert np.array_equal(np.sort(order), np.arange(width * height))


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("count", [1, 7, 500, 61 * 43])
def test_initial_sites_are_as_many_as_asked_and_within_bounds(channels, count):
    target = smooth_target(1, 61, 43, channels)
    params = initialize(target, count)
    assert (params.shape, params.dtype) == ((count, 6 + channels), np.float32)
    Sites(params)  # finite, contiguous
    assert (params[:, [X, Y]] >= 0).all()
    assert (params[:, X] <= 61).all()
    assert (params[:, Y] <= 43).all()
    assert (np.abs(params[:, LOG_TAU]) < 8).all()
    assert (params[:, RADIUS] > 0).all()
    assert (np.hypot(params[:, P], params[:, Q]) <= 1.0 + 1e-5).all()
    assert (params[:, COLOR:] >= target.min() - 1e-5).all()
    assert (params[:, COLOR:] <= target.max() + 1e-5).all()


def test_initialization_depends_on_the_seed_alone(target):
    first = initialize(target, 300, seed=5)
    assert np.array_equal(first, initialize(target, 300, seed=5))
    assert not np.array_equal(first, initialize(target, 300, seed=6))
    assert not initialize(target, 300, radius=False)[:, RADIUS].any()


def test_density_follows_gradients():
    target = np.zeros((64, 64, 1), np.float32)
    target[:, 40:] = 1.0  # one vertical edge
    params = initialize(target, 400)
    near = np.abs(params[:, X] - 40) < 4
    assert near.sum() > 200  # an eighth of the area
    assert (~near).sum() > 50  # flat areas have some
    even = initialize(target, 400, power=0.2)
    assert (np.abs(even[:, X] - 40) < 4).sum() < 0.7 * near.sum()
    # The metric is long across the edge, so the sites lie along it; and dense sites are sharp.
    assert params[near, P].mean() > 0.5
    assert np.abs(params[near, Q]).mean() < 0.1
    assert np.median(params[near, LOG_TAU]) > np.median(params[~near, LOG_TAU]) + 0.3


def test_sites_of_a_flat_image_are_spread_evenly():
    params = initialize(np.full((64, 64, 3), 0.25, np.float32), 256)
    cells = np.zeros((4, 4), int)
    np.add.at(cells, (params[:, Y].astype(int) // 16, params[:, X].astype(int) // 16), 1)
    assert (np.abs(cells - 16) <= 2).all()
    assert np.allclose(params[:, COLOR:], 0.25)


# Schedule


def test_rates_are_held_and_then_fall():
    assert decay(0.0) == decay(HOLD) == 1.0
    assert decay(1.0) == pytest.approx(FINAL_RATE)
    values = [decay(t) for t in np.linspace(HOLD, 1, 20)]
    assert (np.diff(values) < 0).all()


def test_pruning_is_geometric_and_ends_at_the_budget():
    counts = [pruned_count(800, 200, t) for t in np.linspace(0, 1, 101)]
    assert counts[0] == 800
    assert counts[30] == pytest.approx(400, abs=1)  # half way to PRUNE_END
    assert set(counts[round(100 * PRUNE_END) :]) == {200}
    assert (np.diff(counts) <= 0).all()


def test_learning_rates_scale_with_the_spacing():
    rates = learning_rates(400, 300, 1000, 3, radius=True)
    finer = learning_rates(400, 300, 4000, 3, radius=True)
    assert rates.dtype == np.float32
    assert (rates > 0).all()
    assert np.allclose(finer[[X, Y, RADIUS]], rates[[X, Y, RADIUS]] / 2, rtol=1e-5)
    assert np.allclose(np.delete(finer, [X, Y, RADIUS]), np.delete(rates, [X, Y, RADIUS]))
    held = learning_rates(400, 300, 1000, 4, radius=False)
    assert (len(held), held[RADIUS]) == (10, 0.0)


def test_the_start_is_dense_but_never_more_than_the_pixels():
    assert start_count(768, 512, 2000, FitOptions()) == 6000
    assert start_count(768, 512, 2000, FitOptions(dense_start=2.0)) == 4000
    assert 1.1 < start_count(768, 512, 50_000, FitOptions()) / 50_000 < 1.6
    assert start_count(10, 10, 100, FitOptions()) == 100
    assert start_count(10, 10, 20, FitOptions(start_ratio=0.5)) == 10
    assert start_count(10, 10, 1, FitOptions(start_ratio=0.1)) == 1


def test_effort_levels_work_longer_and_longer():
    efforts = [effort_for(level) for level in range(1, 10)]
    for slow, fast in zip(efforts[1:], efforts):
        assert slow.iterations > fast.iterations
        assert slow.tune_iterations > fast.tune_iterations
        assert slow.sweeps >= fast.sweeps
    for level in (0, 10, -1):
        with pytest.raises(OptionError):
            effort_for(level)


# Density control


def test_pruning_drops_the_sites_that_are_missed_least(cpu, target):
    session = cpu.fit_session(target, initialize(target, 170, radius=False))
    params, deltas = session.params, session.removal_deltas()
    prune(session, 150)
    assert np.array_equal(session.params, params[deltas >= np.sort(deltas)[20]])
    prune(session, 200)
    assert session.site_count == 150


def test_splitting_divides_the_worst_sites_in_two(cpu):
    target = np.full((40, 60, 1), 0.5, np.float32)
    target[10:20, 40:44] = 1.0  # all error is in the right half
    fields = np.zeros((2, 7), np.float32)
    fields[:, X], fields[:, Y] = (15, 45), 20
    fields[:, COLOR] = 0.5
    session = cpu.fit_session(target, fields)
    split(session, 1)
    params = session.params
    assert len(params) == 3
    assert np.array_equal(params[0], fields[0])  # the left site stays
    assert np.allclose(params[1:, [X, Y]].mean(axis=0), [45, 20], atol=1e-3)
    assert np.hypot(*(params[1] - params[2])[[X, Y]]) > 5
    assert np.allclose(params[1:, LOG_TAU], 0.5 * np.log(2))


def test_splitting_all_sites_doubles_them(cpu, target):
    session = cpu.fit_session(target, initialize(target, 30))
    split(session, 100)
    assert session.site_count == 60
    split(session, 0)
    assert session.site_count == 60


def test_a_site_is_split_across_its_long_axis(cpu):
    params = np.zeros((1, 7), np.float32)
    params[0, [X, Y]], params[0, P] = 20, 2.0  # short along x
    session = cpu.fit_session(np.zeros((40, 40, 1), np.float32), params)
    split(session, 1)
    one, other = session.params
    assert abs(one[X] - other[X]) < 1e-3
    assert abs(one[Y] - other[Y]) > 10


@pytest.mark.parametrize(
    ("start_ratio", "split_share"),
    [(0.0, 0.0), (3.0, 0.0), (0.5, 0.2), (0.3, 0.05), (2.0, 0.05), (1.0, 0.0)],
    ids=["default", "prune only", "split only", "split slowly", "both", "neither"],
)
def test_density_control_ends_at_the_budget(cpu, target, start_ratio, split_share):
    options = replace(SHORT, iterations=200, start_ratio=start_ratio, split_share=split_share)
    counts = []

    class Watched(type(cpu)):
        def fit_session(self, *arguments):
            session = super().fit_session(*arguments)
            counts.append(session.site_count)
            keep = session.keep

            def counted(index):
                keep(index)
                counts.append(session.site_count)

            session.keep = counted
            return session

    result = fit(Watched(2), target, 120, options)
    if split_share == 0.05 and start_ratio < 1:
        assert counts[0] < len(result.params) < 120  # too slow to get there
    else:
        assert len(result.params) == 120
    if start_ratio:
        assert counts[0] == int(120 * start_ratio)
    assert psnr(result.mse) > 26


def test_a_density_step_says_whether_it_changed_anything(cpu, target):
    session = cpu.fit_session(target, initialize(target, 100))
    options = FitOptions(start_ratio=2.0)
    assert control_density(session, options, 100, 50, 0.3)
    assert 50 < session.site_count < 100
    assert control_density(session, options, 100, 50, 0.9)
    assert session.site_count == 50
    assert not control_density(session, options, 100, 50, 0.95)


# The loop


def test_a_fit_improves_with_its_iterations(cpu, target):
    reached = [
        psnr(fit(cpu, target, 200, replace(SHORT, iterations=n, radius=True)).mse)
        for n in (5, 40, 200)
    ]
    assert reached[1] > reached[0] + 1.0
    assert reached[2] > reached[1] + 0.5
    assert reached[2] > 33.0


def test_a_fit_improves_with_its_sites(cpu, target):
    reached = [psnr(fit(cpu, target, n, SHORT).mse) for n in (1, 20, 100, 400, 64 * 96)]
    assert (np.diff(reached) > 1.0).all()
    assert reached[-1] > 48


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("radius", [False, True])
def test_every_number_of_channels(cpu, channels, radius):
    target = smooth_target(3, 50, 40, channels)
    result = fit(cpu, target, 80, replace(SHORT, radius=radius))
    assert result.params.shape == (80, 6 + channels)
    assert result.params[:, RADIUS].any() == radius
    assert result.mse == pytest.approx(unclamped_mse(cpu, target, result.params), rel=0.02)
    assert psnr(result.mse) > 28


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 3), (2, 40)])
def test_tiny_images(cpu, shape):
    target = np.random.default_rng(1).uniform(0, 1, (*shape, 3)).astype(np.float32)
    for sites in (1, shape[0] * shape[1]):
        result = fit(cpu, target, sites, SHORT)
        assert len(result.params) == sites
    assert psnr(result.mse) > 30  # a site for every pixel


def test_a_fit_depends_on_the_seed_and_not_on_the_threads(target):
    first = fit(get_backend("cpu", 1), target, 100, SHORT)
    again = fit(get_backend("cpu", 2), target, 100, SHORT)
    assert np.array_equal(first.params, again.params)
    assert first.mse == again.mse
    other = fit(get_backend("cpu", 2), target, 100, replace(SHORT, seed=1))
    assert not np.array_equal(first.params, other.params)
    assert abs(psnr(first.mse) - psnr(other.mse)) < 1.0


def test_a_budget_is_asked_once_half_way_and_obeyed(cpu, target):
    asked = []

    def budget(params: np.ndarray, mse: float) -> int:
        asked.append((len(params), mse))
        return 70

    result = fit(cpu, target, 120, replace(SHORT, iterations=120), budget=budget)
    assert len(result.params) == 70
    ((count, mse),) = asked
    assert 120 < count <= 240
    assert psnr(mse) > 20
    # It may not ask for more than the fit was made for, nor for none.
    for wanted, given in ((500, 120), (0, 1), (-5, 1)):
        result = fit(cpu, target, 120, SHORT, budget=lambda *_, n=wanted: n)
        assert len(result.params) == given


def test_progress_rises(cpu, target):
    seen: list[float] = []
    fit(cpu, target, 50, SHORT, progress=seen.append)
    assert seen
    assert (np.diff(seen) > 0).all()
    assert 0 <= seen[0] <= seen[-1] <= 1


def test_subsampling_costs_little(cpu, target):
    full = fit(cpu, target, 60, replace(SHORT, iterations=150, subsample=False))
    some = fit(cpu, target, 60, replace(SHORT, iterations=150))
    assert some.mse != full.mse
    assert psnr(some.mse) > psnr(full.mse) - 0.6


# Fine-tuning


def rounded_mse(cpu, target, params, quantizer) -> float:
    height, width = target.shape[:2]
    symbols = quantize(Sites(params), width, height, quantizer)
    return unclamped_mse(cpu, target, dequantize(symbols, width, height, quantizer).params)


def test_fine_tuning_makes_rounding_cost_less(cpu):
    target = load("coffee.png")[:128, :192].astype(np.float32) / 255
    fitted = fit(cpu, target, 300, replace(SHORT, iterations=120))
    steps = choose_quantizer(fitted.mse, 192, 128, 300, 3, scale=2.0)

    def noise(params: np.ndarray) -> np.ndarray:
        return noise_widths(params, 192, 128, steps)

    tuned = fine_tune(cpu, target, fitted.params, 120, noise=noise)
    quiet = fine_tune(cpu, target, fitted.params, 120, noise=np.zeros_like)
    assert tuned.params.shape == fitted.params.shape
    rounded, cost = {}, {}
    for name, result in (("fitted", fitted), ("tuned", tuned), ("quiet", quiet)):
        rounded[name] = rounded_mse(cpu, target, result.params, steps)
        cost[name] = rounded[name] - unclamped_mse(cpu, target, result.params)
    assert cost["tuned"] < 0.9 * cost["fitted"]
    assert cost["tuned"] < 0.9 * cost["quiet"]  # it is the noise that does it
    assert rounded["tuned"] < min(rounded["fitted"], rounded["quiet"])
    again = fine_tune(get_backend("cpu", 1), target, fitted.params, 120, noise=noise)
    assert np.array_equal(tuned.params, again.params)


def test_no_iterations_change_nothing(cpu, target):
    fitted = fit(cpu, target, 50, SHORT)
    same = fine_tune(cpu, target, fitted.params, 0, noise=np.zeros_like)
    assert np.array_equal(same.params, fitted.params)
    assert same.mse == pytest.approx(fitted.mse, rel=1e-3)


def test_noise_is_a_share_of_the_steps():
    params = initialize(smooth_target(5, 40, 30, 3), 60, radius=False)
    params[0, [P, Q]] = 0.0
    steps = choose_quantizer(1e-3, 40, 30, 60, 3)
    widths = noise_widths(params, 40, 30, steps)
    assert widths.shape == params.shape
    assert np.isfinite(widths).all()
    assert (np.delete(widths, RADIUS, axis=1) > 0).all()
    assert not widths[:, RADIUS].any()
    assert (widths[:, X] < steps.step_position / 1024).all()
    # Across (p, q) a step is that of the angle, twice over, times a / sinh(a).
    a = np.hypot(params[1:, P], params[1:, Q])
    ratio = widths[1:, Q] / widths[1:, P]
    expected = 2 * steps.step_angle / steps.step_log_anisotropy * a / np.sinh(a)
    assert np.allclose(ratio, expected, rtol=1e-3)
