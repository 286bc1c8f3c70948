"""The line of one vibration: frequency and width from the spectrum of its velocity, with error bars.

Model: a damped oscillator driven by noise.  Its velocity q̇ has the autocovariance

    ⟨q̇(0) q̇(t)⟩ = A e^(−πΓt) [cos Ωt − (πΓ/Ω) sin Ωt],    Ω² = (2πν)² − (πΓ)²,

and the spectrum A · 4Γν′² / (2π [(ν² − ν′²)² + Γ²ν′²]) at frequency ν′: a line that peaks exactly at ν and whose full
width at half maximum is exactly Γ, for any damping; for Γ ≪ ν it is the Lorentzian (A/π)(Γ/2)/((ν′ − ν)² + Γ²/4) on
either side of zero.  Γ > 2ν is overdamped.

Fit: the periodogram of a finite, discretely sampled signal scatters like an exponential variate about its expectation.
The expectation of this very periodogram follows from the autocovariance (finite length, leakage, aliasing and, where
velocities are differences of positions, their transfer function: all exact), which makes the likelihood

    −log L = m Σ_k [log S_k + P_k / S_k]

of m equivalent modes' mean periodogram P the debiased Whittle likelihood.  Its errors are those of the "sandwich"
J⁻¹KJ⁻¹ of Fisher information J and covariance K of the score, with the correlations between ordinates that a finite
signal has.  A second estimate comes from blocks of the trajectory fitted one by one: where they scatter more than
their error bars, the error is scaled up by √(χ²/(blocks − 1)), the practice of the Particle Data Group.

A line narrower than the resolution 1/T, T the duration, shows no width.  Its phase may still have wandered like that of
a line as wide as the bound Γ_b, so that its frequency is known to no better than √(Γ_b/(2πTm)).

Sources: Sykulski, Olhede, Guillaumin, Lilly, Early, Biometrika 106, 251 (2019), doi:10.1093/biomet/asy071 (debiased
Whittle likelihood); Wang & Uhlenbeck, Rev. Mod. Phys. 17, 323 (1945), doi:10.1103/RevModPhys.17.323 (damped
oscillator);
Workman et al. (Particle Data Group), Prog. Theor. Exp. Phys. 2022, 083C01, doi:10.1093/ptep/ptac097, section 5.2.2.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from phonograph.types import FloatArray

BAND_WIDTHS = 5.0
"""Ordinates within this many widths of the line are fitted, …"""

BAND_ORDINATES = 12
"""… and no fewer than this many on either side."""

NARROWEST = 1.0e-3
"""Widths are fitted down to this share of the resolution 1/duration."""

MISFIT_FROM_WIDTHS = 3.0
"""The law of the ordinates is tested for lines wider than this many times the resolution."""

STARTS = (1, 5, 21)
"""Ordinates averaged to find where the line is; each gives a start of the fit."""

SINE_SHARE = 0.25
"""A line narrower than the resolution lies within this share of it from where its two highest ordinates say."""

MISFIT = 1.0e-4
"""Where the law of the ordinates has a p-value below this, there is more than the one line; the main peak is fitted."""

PEAK_ORDINATES, PEAK_BAND = 5, 20
"""The main peak is the highest mean of this many ordinates; these many on either side are fitted first."""

PERIODS_PER_BLOCK = 5.0
"""Periods that a block must hold to be fitted alone."""

MOST_POWER = 1.5
"""A line may carry this many times the power that its modes have: both are measured with noise."""

Ordinates = np.ndarray[tuple[int], np.dtype[np.int64]]
"""Indices into a periodogram."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """A fitted line.

    Attributes
    ----------
    frequency_THz, frequency_error_THz
        Position of the peak ν and its standard error.
    width_THz, width_error_THz
        Full width at half maximum Γ and its standard error.  A line narrower than the resolution 1/duration has an
        upper bound as width, and NaN as error.
    power
        A: the part of ⟨q̇²⟩ that the line carries, in the unit of the signal squared.
    share
        A relative to all of ⟨q̇²⟩.
    misfit
        p-value of the Kolmogorov–Smirnov test of the ordinates about the fit; NaN for lines too narrow to tell.
    scale
        Factor by which scatter between blocks enlarged the errors; 1 where there was none.
    """

    frequency_THz: float
    frequency_error_THz: float
    width_THz: float
    width_error_THz: float
    power: float
    share: float
    misfit: float
    scale: float = 1.0

    @property
    def overdamped(self) -> bool:
        """Whether the motion returns to rest without swinging: Γ > 2ν."""
        return bool(self.width_THz > 2.0 * self.frequency_THz)

    @property
    def resolved(self) -> bool:
        """Whether the width is a measurement, not a bound."""
        return bool(np.isfinite(self.width_error_THz))


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How a signal was sampled: ``frames`` values ``step_ps`` apart; ``differences`` of positions, or velocities."""

    frames: int
    step_ps: float
    differences: bool = False

    @property
    def resolution_THz(self) -> float:
        """1/duration."""
        return 1.0 / (self.frames * self.step_ps)


@dataclass(frozen=True, kw_only=True)
class _Fit:
    """Parameters (log variance, ν, log Γ, log background), their covariance, and the value of −log L.

    The variance is that of the line in the sampled signal: A, or what differences of positions see of it.
    """

    values: FloatArray
    covariance: FloatArray
    minus_log: float


def periodogram(signals: FloatArray) -> FloatArray:
    """Return the mean over signals of |Σ_t x_t e^(−2πikt/N)|²/N, k = 0 … N/2.

    Parameters
    ----------
    signals
        Shape (N, m).
    """
    return np.asarray((np.abs(np.fft.rfft(signals, axis=0)) ** 2).mean(axis=1) / len(signals), dtype=np.float64)


def fit_line(signals: FloatArray, step_ps: float, *, blocks: int = 4, differences: bool = False) -> Line:
    """Fit one line to the velocities of equivalent modes.

    Parameters
    ----------
    signals
        Velocity of each mode, any unit, shape (frames, modes).
    step_ps
        Time between frames, ps.
    blocks
        Consecutive parts of the signal that are fitted one by one as a check, fewer for slow lines; below 2: none.
    differences
        Velocities are central differences of positions, (x_{t+1} − x_{t−1})/2Δt.

    Returns
    -------
    Line
    """
    sampling = Sampling(frames=len(signals), step_ps=step_ps, differences=differences)
    power = periodogram(signals)
    modes = signals.shape[1]
    line, fit = _fitted_line(power, modes, sampling, _best(power, modes, sampling))
    if line.misfit < MISFIT:
        peak, peak_fit = _fitted_line(power, modes, sampling, _main_peak(power, modes, sampling))
        # Also where the peak is too narrow for the test (NaN): no line across several peaks would be.
        if not peak.misfit <= line.misfit:
            line, fit = peak, peak_fit
    return _checked_by_blocks(line, fit, signals, sampling, blocks)


def _fitted_line(power: FloatArray, modes: int, sampling: Sampling, start: _Fit) -> tuple[Line, _Fit]:
    """Fit within the band about a line found before."""
    band = _band(start.values, sampling)
    fit = _scored(power, modes, sampling, start.values, band)
    return _line(fit, power, modes, sampling, band), fit


def _best(power: FloatArray, modes: int, sampling: Sampling) -> _Fit:
    """Return the most likely of the fits to all ordinates that start from peaks found at several resolutions."""
    starts = [(_smoothed_peak(power, count), float(count)) for count in STARTS]
    starts.append((_between(power), 0.05))
    everywhere = np.arange(1, len(power) - 1)
    fits = [_minimised(power, modes, sampling, _start(power, sampling, *start), everywhere) for start in starts]
    return min(fits, key=lambda fit: fit.minus_log)


def _main_peak(power: FloatArray, modes: int, sampling: Sampling) -> _Fit:
    """Return the fit to the highest peak and what lies close to it."""
    place = _smoothed_peak(power, PEAK_ORDINATES)
    near = np.arange(max(1, int(place) - PEAK_BAND), min(len(power) - 2, int(place) + PEAK_BAND) + 1)
    return _minimised(power, modes, sampling, _start(power, sampling, place, float(PEAK_ORDINATES)), near)


def _smoothed_peak(power: FloatArray, count: int) -> float:
    """Return the ordinate about which the mean of ``count`` is highest."""
    smooth = np.convolve(power[1:-1], np.ones(count) / count, mode="same")
    return 1.0 + float(np.argmax(smooth))


def _start(power: FloatArray, sampling: Sampling, place: float, width: float) -> FloatArray:
    """Return first parameters of a line at an ordinate, ``width`` ordinates wide."""
    background = np.log(np.median(power[1:-1]) + 1e-12 * power.max())
    resolution = sampling.resolution_THz
    return np.array([np.log(_variance(power, sampling)), place * resolution, np.log(width * resolution), background])


def _between(power: FloatArray) -> float:
    """Return where a line far narrower than the distance of two ordinates lies, in ordinates.

    The amplitudes |J| of a sine at the ordinates k and k + 1 about it are as k + 1 − x to x − k.
    """
    peak = 1 + int(np.argmax(power[1:-1]))
    other = peak + (1 if power[peak + 1] > power[peak - 1] else -1)
    near, far = np.sqrt(power[[peak, other]])
    return float(peak + (other - peak) * far / (near + far))


def _variance(power: FloatArray, sampling: Sampling) -> float:
    """Return the mean square of the signal from its one-sided periodogram."""
    twice = 2.0 * power.sum() - power[0] - (power[-1] if sampling.frames % 2 == 0 else 0.0)
    return float(twice / sampling.frames)


def _band(values: FloatArray, sampling: Sampling) -> Ordinates:
    """Return the ordinates about the line that are fitted."""
    resolution = sampling.resolution_THz
    half = max(BAND_WIDTHS * np.exp(values[2]) / resolution, BAND_ORDINATES)
    centre, last = values[1] / resolution, sampling.frames // 2 - 1
    low, high = max(1, int(centre - half)), min(last, int(np.ceil(centre + half)))
    return np.arange(min(low, max(1, last - 2 * BAND_ORDINATES)), max(high, min(last, 2 * BAND_ORDINATES)) + 1)


def autocovariance(power: float, frequency_THz: float, width_THz: float, sampling: Sampling) -> FloatArray:
    """Return ⟨y_0 y_k⟩ of the sampled signal y at lags k = 0 … frames − 1."""
    lags = np.arange(sampling.frames + 2 * sampling.differences) * sampling.step_ps
    decay, angular = np.pi * width_THz, 2.0 * np.pi * frequency_THz
    # Complex for an overdamped oscillator; the offset keeps the critically damped one finite.
    omega = np.sqrt(complex(angular**2 - decay**2, 1e-12 * angular**2))
    plus = np.exp((-decay + 1j * omega) * lags)
    minus = np.exp((-decay - 1j * omega) * lags)
    ratio = 1j * decay / omega
    if not sampling.differences:
        return 0.5 * power * np.real((1 + ratio) * plus + (1 - ratio) * minus)
    position = 0.5 * power / angular**2 * np.real((1 - ratio) * plus + (1 + ratio) * minus)
    mirrored = position[np.abs(np.arange(-2, sampling.frames + 2))]
    differences = 2.0 * mirrored[2:-2] - mirrored[4:] - mirrored[:-4]
    return np.asarray(differences / (2.0 * sampling.step_ps) ** 2, dtype=np.float64)


def expected_periodogram(covariances: FloatArray) -> FloatArray:
    """Return the expectation of the periodogram of a signal with these autocovariances, k = 0 … N/2."""
    frames = len(covariances)
    weights = 1.0 - np.arange(frames) / frames
    return np.asarray(2.0 * np.fft.rfft(covariances * weights).real - covariances[0], dtype=np.float64)


def _covariances(values: FloatArray, sampling: Sampling) -> FloatArray:
    """Return the autocovariances of the line in the sampled signal."""
    found = autocovariance(1.0, values[1], np.exp(values[2]), sampling)
    return np.asarray(np.exp(values[0]) / found[0] * found, dtype=np.float64)


def _expected(values: FloatArray, sampling: Sampling) -> FloatArray:
    """Return the expected periodogram of the line alone, floored well below anything measured."""
    line = expected_periodogram(_covariances(values, sampling))
    return np.maximum(line, 1e-13 * line.max())


def _slopes(values: FloatArray, sampling: Sampling, band: Ordinates) -> tuple[FloatArray, FloatArray]:
    """Return the expected periodogram S in the band and ∂ log S by each parameter, shape (ordinates, 4)."""
    line = _expected(values, sampling)[band]
    background = np.exp(values[3])
    total = line + background
    columns = [line, np.empty(0), np.empty(0), np.full(len(band), background)]
    steps = (1e-4 * max(np.exp(values[2]), sampling.resolution_THz), 1e-4)
    for place, step in zip((1, 2), steps, strict=True):
        shift = np.zeros(4)
        shift[place] = step
        ahead, behind = _expected(values + shift, sampling)[band], _expected(values - shift, sampling)[band]
        columns[place] = (ahead - behind) / (2.0 * step)
    return total, np.stack(columns, axis=1) / total[:, None]


def _minimised(power: FloatArray, modes: int, sampling: Sampling, start: FloatArray, band: Ordinates) -> _Fit:
    """Minimise −log L within the bounds of the model."""
    from scipy.optimize import minimize

    # Position in ordinates, so that all four parameters have the same scale.
    scales = np.array([1.0, sampling.resolution_THz, 1.0, 1.0])
    measured = power[band]

    def value(scaled: FloatArray) -> tuple[float, FloatArray]:
        total, slopes = _slopes(scaled * scales, sampling, band)
        minus_log = modes * (np.log(total) + measured / total).sum()
        return float(minus_log), modes * scales * (slopes.T @ (1.0 - measured / total))

    low, high = _bounds(power, sampling)
    bounds = np.stack([low, high], axis=1) / scales[:, None]
    found = minimize(value, np.clip(start, low, high) / scales, jac=True, method="L-BFGS-B", bounds=bounds)
    return _Fit(values=found.x * scales, covariance=np.zeros((4, 4)), minus_log=float(found.fun))


def _bounds(power: FloatArray, sampling: Sampling) -> tuple[FloatArray, FloatArray]:
    """Return where the model is defined: a line carries no more power than there is, and lies below Nyquist's limit.

    A width or a background at its lower bound counts as zero.
    """
    nyquist, resolution = 0.5 / sampling.step_ps, sampling.resolution_THz
    whole, highest = _variance(power, sampling), float(power.max())
    low = [np.log(1e-3 * whole), 0.25 * resolution, np.log(NARROWEST * resolution), np.log(1e-13 * highest)]
    high = [np.log(MOST_POWER * whole), 0.999 * nyquist, np.log(nyquist), np.log(highest)]
    return np.array(low), np.array(high)


def _scored(power: FloatArray, modes: int, sampling: Sampling, start: FloatArray, band: Ordinates) -> _Fit:
    """Fit within the band, and return the parameters with their sandwich covariance."""
    fit = _minimised(power, modes, sampling, start, band)
    total, slopes = _slopes(fit.values, sampling, band)
    information = modes * slopes.T @ slopes
    covariances = _covariances(fit.values, sampling)
    covariances[0] += np.exp(fit.values[3])
    overlap = _overlap(covariances, band) / np.sqrt(np.outer(total, total))
    score = modes * slopes.T @ (overlap**2 @ slopes)
    # Parameters at a bound, or that the data cannot feel (a background that has gone to zero), are held.
    low, high = _bounds(power, sampling)
    felt = (np.diag(information) > 1e-3) & (fit.values > low) & (fit.values < high)
    covariance = np.zeros((4, 4))
    inverse = np.linalg.pinv(information[np.ix_(felt, felt)], rcond=1e-10)
    covariance[np.ix_(felt, felt)] = inverse @ score[np.ix_(felt, felt)] @ inverse
    return replace(fit, covariance=covariance)


def _overlap(covariances: FloatArray, band: Ordinates) -> FloatArray:
    """Return |⟨J_j J_k*⟩| of the Fourier amplitudes J = Σ_t x_t e^(−iω_j t)/√N at the ordinates of the band.

    With G(ω) = Σ_{τ≥0} C(τ) e^(−iωτ) the double sum over times collapses, for j ≠ k, to
    |⟨J_j J_k*⟩| = |Im G(ω_j) − Im G(ω_k)| / (N |sin((ω_j − ω_k)/2)|).
    """
    frames = len(covariances)
    imaginary = np.fft.rfft(covariances).imag[band]
    apart = np.abs(np.sin(np.pi * (band[:, None] - band[None, :]) / frames))
    np.fill_diagonal(apart, 1.0)
    overlap = np.abs(imaginary[:, None] - imaginary[None, :]) / (frames * apart)
    np.fill_diagonal(overlap, expected_periodogram(covariances)[band])
    return np.asarray(overlap, dtype=np.float64)


def _line(fit: _Fit, power: FloatArray, modes: int, sampling: Sampling, band: Ordinates) -> Line:
    from scipy import stats

    log_variance, frequency, log_width, background = fit.values
    error, log_error = np.sqrt(np.diag(fit.covariance))[[1, 2]]
    width, resolution = float(np.exp(log_width)), sampling.resolution_THz
    resolved = width > resolution
    bound = width if resolved else max(resolution, width * float(np.exp(min(2.0 * log_error, 5.0))))
    if not resolved:
        # For a pure sine the ordinates are no longer independent, and their likelihood may prefer a place beside it.
        place = _between(power) * resolution
        frequency = place if abs(frequency - place) > SINE_SHARE * resolution else frequency
        error = np.hypot(error, np.sqrt(bound * resolution / (2.0 * np.pi * modes)))
    misfit = float("nan")
    if width > MISFIT_FROM_WIDTHS * resolution:
        total = _expected(fit.values, sampling)[band] + np.exp(background)
        misfit = float(stats.kstest(modes * power[band] / total, stats.gamma(modes).cdf).pvalue)
    variance = float(np.exp(log_variance))
    return Line(
        frequency_THz=float(frequency),
        frequency_error_THz=float(error),
        width_THz=bound,
        width_error_THz=float(width * log_error) if resolved else float("nan"),
        power=variance / float(autocovariance(1.0, frequency, width, sampling)[0]),
        share=variance / _variance(power, sampling),
        misfit=misfit,
    )


def _checked_by_blocks(line: Line, fit: _Fit, signals: FloatArray, sampling: Sampling, blocks: int) -> Line:
    """Scale the errors up where blocks of the signal scatter more than their own error bars say.

    A block holds PERIODS_PER_BLOCK periods at least, so that slow lines have fewer blocks, or no such check.
    """
    periods = line.frequency_THz / sampling.resolution_THz
    blocks = min(blocks, int(periods / PERIODS_PER_BLOCK))
    if blocks < 2:
        return line
    length = len(signals) // blocks
    part = replace(sampling, frames=length)
    found, errors = [], []
    for block in range(blocks):
        power = periodogram(signals[block * length : (block + 1) * length])
        one = _scored(power, signals.shape[1], part, fit.values, _band(fit.values, part))
        found.append(one.values[1])
        errors.append(np.sqrt(one.covariance[1, 1]))
    # A floor, because a noise-free sine on a Fourier frequency has no error at all.
    weights = 1.0 / np.maximum(np.square(errors), np.square(1e-3 * part.resolution_THz))
    mean = np.average(found, weights=weights)
    scale = max(1.0, float(np.sqrt((weights * (np.array(found) - mean) ** 2).sum() / (blocks - 1))))
    return replace(
        line,
        frequency_error_THz=scale * line.frequency_error_THz,
        width_error_THz=scale * line.width_error_THz,
        scale=scale,
    )
