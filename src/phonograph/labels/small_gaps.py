"""Gaps that the electronic temperature of the calculation blurs: a narrow gap, or a metal in a finite cell.

Occupations are smeared by kT.  With the Fermi level in the middle of a gap E the share of the lowest empty level that
is filled is 1/(1 + exp(E/2kT)): below 0.7 % for E > 10 kT, and more below.  There the charges, and with them the gap,
depend on the electronic temperature; and the gap is as small as the distance of two levels in a metal of some dozens of
atoms (*measured* with GFN1-xTB at 300 K: 0.003–0.06 eV for Na₁₆, Cu₃₂, Ag₃₂, Al₃₂, Fe₁₆; 10 kT is 0.26 eV).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import numpy as np

from phonograph.labels.edges import GAP
from phonograph.labels.task import Calculation
from phonograph.types import ZERO_GAP_EV, LabelColumn
from phonograph.units import BOLTZMANN_EV_PER_K

BLURRED_KT = 10.0
"""Gaps up to this many kT are named."""


def small_gap_warnings(columns: Sequence[LabelColumn], calculations: Sequence[Calculation]) -> Iterator[str]:
    """Yield a sentence for every engine with smeared occupations that gives gaps above zero and up to 10 kT."""
    for item in calculations:
        kelvin = json.loads(item.settings).get("electronic_temperature_K")
        values = next((c.values for c in columns if c.name == GAP and c.engine == item.engine), None)
        if not kelvin or values is None:
            continue
        limit = BLURRED_KT * BOLTZMANN_EV_PER_K * float(kelvin)
        count = int(np.sum((values > ZERO_GAP_EV) & (values <= limit)))
        if count:
            yield (
                f"{count} of {len(values)} band gaps are at most {limit:.2f} eV, 10 kT of the electronic temperature "
                f"({item.engine}): electrons cross it in the calculation, its value depends on that temperature, "
                "and in a metal it is only the distance of two levels of a finite cell (check_folding tells)."
            )
