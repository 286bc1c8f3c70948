"""Line fits on signals whose frequency and width are known, and the formulas they rest on."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import expm

from phonograph.phonons.lines import (
    Sampling,
    _overlap,
    autocovariance,
    expected_periodogram,
    fit_line,
    periodogram,
)
from phonograph.streams import stream

STEP_PS = 0.015


def oscillators(seed: int, frames: int, frequency: float, width: float, modes: int) -> np.ndarray:
    """Positions and velocities of damped oscillators in equilibrium with ⟨v²⟩ = 1, exact at every step, (t, 2, m)."""
    angular, damping = 2 * np.pi * frequency, 2 * np.pi * width
    onward = expm(np.array([[0, 1], [-(angular**2), -damping]]) * STEP_PS)
    equilibrium = np.diag([1 / angular**2, 1.0])
    kick = np.linalg.cholesky(equilibrium - onward @ equilibrium @ onward.T + 1e-15 * equilibrium)
    random = stream(seed, "oscillators")
    state = np.sqrt(equilibrium) @ random.standard_normal((2, modes))
    states = np.empty((frames, 2, modes))
    for place in range(frames):
        states[place] = state
        state = onward @ state + kick @ random.standard_normal((2, modes))
    return states


@pytest.mark.parametrize(("frequency", "width"), [(3.0, 0.3), (0.5, 1.5), (6.01, 0.02)])
def test_the_expected_periodogram_is_the_mean_of_periodograms(frequency, width):
    states = oscillators(1, 202, frequency, width, 4000)
    plain = Sampling(frames=200, step_ps=STEP_PS)
    for signals, sampling in (
        (states[1:-1, 1], plain),
        ((states[2:, 0] - states[:-2, 0]) / (2 * STEP_PS), Sampling(frames=200, step_ps=STEP_PS, differences=True)),
    ):
        expected = expected_periodogram(autocovariance(1.0, frequency, width, sampling))
        # An ordinate is exponential: its relative standard error over 4000 signals is 1.6 %.
        assert np.abs(periodogram(signals)[1:-1] / expected[1:-1] - 1).max() < 5 / np.sqrt(4000)


@pytest.mark.parametrize(("frequency", "width"), [(3.0, 0.3), (1.0, 0.8), (1.0, 2.5)])
def test_the_line_peaks_at_its_frequency_and_is_as_wide_as_it_says(frequency, width):
    step = 2e-3
    covariances = autocovariance(1.0, frequency, width, Sampling(frames=400_000, step_ps=step))
    spectrum = expected_periodogram(covariances)
    grid = np.arange(len(spectrum)) / (400_000 * step)
    peak = np.argmax(spectrum)
    above = grid[spectrum > spectrum[peak] / 2]
    assert grid[peak] == pytest.approx(frequency, abs=0.005)
    assert above[-1] - above[0] == pytest.approx(width, rel=0.01)
    # Two-sided power: half of A on either side of zero.
    assert spectrum.mean() == pytest.approx(1.0, rel=0.01)


@pytest.mark.parametrize(("frequency", "width"), [(3.0, 0.3), (6.01, 0.02)])
def test_correlations_of_fourier_amplitudes_by_the_double_sum(frequency, width):
    sampling = Sampling(frames=90, step_ps=STEP_PS)
    covariances = autocovariance(1.0, frequency, width, sampling)
    band = np.arange(1, 40)
    times = np.arange(90)
    waves = np.exp(-2j * np.pi * np.outer(band, times) / 90)
    exact = np.abs(waves @ covariances[np.abs(times[:, None] - times)] @ waves.conj().T) / 90
    np.testing.assert_allclose(_overlap(covariances, band), exact, atol=1e-10 * exact.max())


@pytest.mark.parametrize(
    ("frequency", "width", "modes", "differences"),
    [
        (3.01, 0.3, 3, False),
        (3.01, 0.3, 3, True),
        (1.0, 0.5, 6, False),
        (0.5, 1.5, 6, False),
        # Near the highest frequency that frames 15 fs apart can show, 33 THz: differences see 7 % of the power.
        (26.0, 0.5, 3, True),
    ],
)
def test_error_bars_cover_the_truth_as_often_as_they_should(frequency, width, modes, differences):
    inside, widths, off, powers, far = [], [], [], [], 0
    for seed in range(30):
        states = oscillators(seed, 802, frequency, width, modes)
        signals = (states[2:, 0] - states[:-2, 0]) / (2 * STEP_PS) if differences else states[1:-1, 1]
        line = fit_line(signals, STEP_PS, differences=differences)
        assert line.resolved
        assert line.share == pytest.approx(1.0, abs=0.35)
        away = abs(line.frequency_THz - frequency) / line.frequency_error_THz
        inside.append(away < 1)
        far += away > 3
        off.append((line.width_THz - width) / line.width_error_THz)
        widths.append(abs(off[-1]) < 1)
        powers.append(line.power)
    # No bias: the mean of 30 has a standard error of 0.18.
    assert abs(np.mean(off)) < 0.7
    assert np.mean(powers) == pytest.approx(1.0, abs=0.2)
    # 68 % of 120 signals over the four cases; of 30, the standard error is 8.5 %.
    assert 0.45 < np.mean(inside) < 0.92
    assert 0.45 < np.mean(widths) < 0.95
    assert far <= 2


@pytest.mark.slow
def test_two_hundred_signals_are_covered_at_one_standard_error():
    hits = []
    for seed in range(200):
        line = fit_line(oscillators(1000 + seed, 1200, 3.01, 0.25, 3)[:, 1], STEP_PS)
        hits.append(abs(line.frequency_THz - 3.01) < line.frequency_error_THz)
    assert 0.55 < np.mean(hits) < 0.80


@pytest.mark.parametrize("width", [1e-4, 5e-3, 0.02])
def test_narrow_lines_have_a_bound_and_a_safe_error(width):
    bound = 1 / (1200 * STEP_PS)
    lines = [fit_line(oscillators(seed, 1200, 3.013, width, 3)[:, 1], STEP_PS) for seed in range(12)]
    for line in lines:
        assert line.width_THz >= bound > width
        assert abs(line.frequency_THz - 3.013) < 2.5 * line.frequency_error_THz
        assert line.frequency_error_THz < bound * line.scale
        # By chance a line can look wider than the resolution; its error bar then reaches down to the truth.
        assert not line.resolved or line.width_THz - width < 3 * line.width_error_THz
    assert sum(line.resolved for line in lines) <= 2


def test_an_overdamped_motion_is_called_so():
    lines = [fit_line(oscillators(seed, 2000, 0.3, 3.0, 6)[:, 1], STEP_PS) for seed in range(4)]
    assert all(line.overdamped for line in lines)
    assert np.mean([line.frequency_THz for line in lines]) == pytest.approx(0.3, abs=0.1)


def test_two_peaks_are_no_line():
    both = oscillators(1, 1200, 2.0, 0.2, 3)[:, 1] + oscillators(2, 1200, 5.0, 0.2, 3)[:, 1]
    line = fit_line(both, STEP_PS)
    assert min(abs(line.frequency_THz - 2.0), abs(line.frequency_THz - 5.0)) < 0.2
    assert line.share < 0.7


def test_blocks_that_disagree_enlarge_the_error():
    # The frequency drifts by many error bars during the run.
    drifting = np.concatenate([oscillators(k, 500, 3.0 + 0.3 * k, 0.05, 6)[:, 1] for k in range(4)])
    steady = fit_line(oscillators(9, 2000, 3.45, 0.05, 6)[:, 1], STEP_PS)
    line = fit_line(drifting, STEP_PS)
    assert line.scale > 3
    assert line.frequency_error_THz > 3 * steady.frequency_error_THz
    assert fit_line(drifting, STEP_PS, blocks=1).scale == 1.0


def test_scale_and_turning_of_the_signals_do_not_matter():
    signals = oscillators(3, 1000, 2.0, 0.2, 3)[:, 1]
    turned, _ = np.linalg.qr(stream(0, "turn").standard_normal((3, 3)))
    first = fit_line(signals, STEP_PS)
    second = fit_line(1e3 * signals @ turned, STEP_PS)
    assert second.frequency_THz == pytest.approx(first.frequency_THz, abs=1e-3 * first.width_THz)
    assert second.width_THz == pytest.approx(first.width_THz, rel=1e-2)
    assert second.power == pytest.approx(1e6 * first.power, rel=1e-2)
