"""Gaps that the smearing of the calculation blurs: a narrow gap, or a metal in a finite cell.

With the Fermi level in the middle of a gap E the share of the lowest empty level that is filled is 1/(1 + exp(E/2kT))
for Fermi-Dirac occupations, below 0.7 % for E > 10 kT, and erfc(E/2σ)/2 for Gaussian smearing of the width σ, below
0.7 % for E > 3.5 σ (of that order for Methfessel-Paxton and cold smearing); more for smaller gaps.  There the charges,
and with them the gap, depend on the smearing; and the gap is as small as the distance of two levels in a metal of some
dozens of atoms (*measured* with GFN1-xTB at 300 K: 0.003–0.06 eV for Na₁₆, Cu₃₂, Ag₃₂, Al₃₂, Fe₁₆; 10 kT is 0.26 eV).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from phonograph.labels.edges import GAP
from phonograph.labels.task import Calculation
from phonograph.types import ZERO_GAP_EV, LabelColumn
from phonograph.units import BOLTZMANN_EV_PER_K

BLURRED_KT, BLURRED_WIDTHS = 10.0, 3.5
"""Gaps up to this many kT, or widths of another smearing, are named."""

_FERMI_DIRAC = ("fd", -1)
"""How Quantum ESPRESSO's and VASP's settings call it."""


def small_gap_warnings(columns: Sequence[LabelColumn], calculations: Sequence[Calculation]) -> Iterator[str]:
    """Yield a sentence for every engine with smeared occupations that gives gaps above zero which that blurs."""
    for item in calculations:
        limit, words = _blurred(json.loads(item.settings))
        values = next((c.values for c in columns if c.name == GAP and c.engine == item.engine), None)
        if not limit or values is None:
            continue
        count = int(np.sum((values > ZERO_GAP_EV) & (values <= limit)))
        if count:
            yield (
                f"{count} of {len(values)} band gaps are at most {limit:.2f} eV, {words} "
                f"({item.engine}): electrons cross it in the calculation, its value depends on that "
                f"{words.split()[-1]}, and in a metal it is only the distance of two levels of a finite cell "
                "(check_folding tells)."
            )


def _blurred(settings: Mapping[str, Any]) -> tuple[float, str]:
    """Return the largest gap that the smearing of an engine blurs, eV, and what that is; 0 where nothing is smeared."""
    kelvin = settings.get("electronic_temperature_K") or settings.get("smearing_K")
    if kelvin:
        return BLURRED_KT * BOLTZMANN_EV_PER_K * float(kelvin), "10 kT of the electronic temperature"
    width = settings.get("smearing_eV")
    if not width or settings.get("occupations") == "fixed":
        return 0.0, ""
    widths = BLURRED_KT if settings.get("smearing") in _FERMI_DIRAC else BLURRED_WIDTHS
    return widths * float(width), f"{widths:g} times the width of the smearing"
