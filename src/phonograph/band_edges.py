"""Band gap and band edges by counting electrons: no Fermi level and no density of states enters.

With N electrons in doubly occupied bands, ε_b(k) in ascending order: VBM = max_k ε_{N/2}(k), CBM = min_k ε_{N/2+1}(k),
gap = max(0, CBM − VBM), direct gap = min_k [ε_{N/2+1}(k) − ε_{N/2}(k)], not below 0.  With two spins, N↑ and N↓ are
counted apart and the edges are those of either spin.  Bands that overlap have a gap of zero, which is a value.  Partly
filled bands give N↑ − N↓ that is not whole: the nearest possible number is taken, and a gap is believed only where that
is near.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from phonograph.types import Bands, LabelResult

GAP, DIRECT_GAP, VBM, CBM = "band_gap_eV", "direct_gap_eV", "vbm_eV", "cbm_eV"
VBM_MEAN, CBM_MEAN = "vbm_mean_eV", "cbm_mean_eV"
WHOLE, WHOLE_MOMENT = 1e-3, 0.1
"""Electrons, and moments of smeared spins, μB, count as whole where they differ from it by less than this."""


def band_edges(bands: Bands, manifolds: tuple[int, int] = (0, 0)) -> LabelResult:
    """Return the edges of ``bands``, or the failure that says why there are none.

    Parameters
    ----------
    manifolds
        Numbers of states that are degenerate at the top of the valence and at the bottom of the conduction bands of
        the static crystal; with numbers above 0, their means enter as ``vbm_mean_eV`` and ``cbm_mean_eV``.  Thermal
        disorder splits such a manifold, and the extreme of M split levels lies above their mean even where the mean
        stays (0.56, 0.85, 1.27 standard deviations for M = 2, 3, 6).  Only where Γ of the cell is all there is.
    """
    counted = occupied_bands(bands)
    if isinstance(counted, LabelResult):
        return counted
    energies = bands.eigenvalues_eV
    if max(counted) == 0 or max(counted) >= energies.shape[2]:
        return _refused(
            "bad_input", f"{bands.electrons:g} electrons leave no occupied or no empty one of {energies.shape[2]} bands"
        )
    valence = np.stack([energies[s, :, n - 1] for s, n in enumerate(counted) if n > 0])
    conduction = np.stack([energies[s, :, n] for s, n in enumerate(counted)])
    vbm, cbm = float(valence.max()), float(conduction.min())
    direct = float((conduction.min(axis=0) - valence.max(axis=0)).min())
    values = {GAP: max(0.0, cbm - vbm), DIRECT_GAP: max(0.0, direct), VBM: vbm, CBM: cbm}
    missed = abs(bands.magnetisation - (counted[0] - counted[-1]))
    if vbm < cbm and missed > WHOLE_MOMENT:
        return _refused("unphysical", f"a moment of {bands.magnetisation:g} μB is not whole, as it is below a gap")
    means = _means(bands, counted, manifolds)
    return means if isinstance(means, LabelResult) else LabelResult(values=values | means)


def chosen(result: LabelResult, names: Sequence[str]) -> LabelResult:
    """Return ``result`` with those of its values that are called ``names``; a failure as it is."""
    return replace(result, values={name: value for name, value in result.values.items() if name in names})


def occupied_bands(bands: Bands) -> tuple[int, ...] | LabelResult:
    """Return the number of occupied bands per spin, or the failure that says why they cannot be counted."""
    whole = round(bands.electrons)
    if abs(bands.electrons - whole) > WHOLE:
        return _refused("unphysical", f"electrons must be whole; got N = {bands.electrons:g}")
    if len(bands.eigenvalues_eV) == 1:
        if whole % 2:
            return _refused("bad_input", f"odd number of electrons ({whole}): the highest level is half filled, no gap")
        return (whole // 2,)
    # N↑ − N↓ is even where N is.
    moment = 2 * round((bands.magnetisation - whole % 2) / 2.0) + whole % 2
    if abs(moment) > whole:
        return _refused("unphysical", f"{whole} electrons cannot have a moment of {bands.magnetisation:g} μB")
    return ((whole + moment) // 2, (whole - moment) // 2)


def _means(bands: Bands, counted: tuple[int, ...], manifolds: tuple[int, int]) -> dict[str, float] | LabelResult:
    if manifolds == (0, 0):
        return {}
    if len(bands.k_points) > 1 or len(counted) > 1:
        return _refused("bad_input", "means over a degenerate manifold need one k point and no spin polarisation")
    levels, occupied = bands.eigenvalues_eV[0, 0], counted[0]
    found: dict[str, float] = {}
    for name, size, states in (
        (VBM_MEAN, manifolds[0], levels[:occupied][-manifolds[0] :]),
        (CBM_MEAN, manifolds[1], levels[occupied : occupied + manifolds[1]]),
    ):
        if size:
            if len(states) < size:
                return _refused("bad_input", f"{name} needs {size} states; the calculation has {len(states)}")
            found[name] = float(np.mean(states))
    return found


def _refused(kind: str, message: str) -> LabelResult:
    return LabelResult(values={}, failure=kind, message=message)
