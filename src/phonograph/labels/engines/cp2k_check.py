"""Whether an output of CP2K is that of this structure and these settings, and which energies are not asked for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from phonograph.errors import InputFileError
from phonograph.labels.engines.cp2k_input import Cp2kSettings, right_handed
from phonograph.labels.engines.cp2k_output import Cp2kOutput
from phonograph.types import Crystal

POSITION_A, CELL_A, K = 2e-6, 6e-4, 1.1e-5
"""How exactly CP2K prints positions (6 decimals), lattice vectors (3; the volume has 6) and k points (5)."""

_HALOGENS, _ACCEPTORS = frozenset(("Br", "I", "At")), frozenset(("N", "O", "P", "S"))
"""Where CP2K's GFN1-xTB fails the symmetry and strain tests, *measured*: Ag3SBr runs away, and the stress of Ag3SI is
23.5 GPa where the energy's derivative is 2.4; Ag3SCl, NaCl and Si pass."""


def xtb_refusal(symbols: Iterable[str]) -> str:
    """Return why energies, forces and stress of GFN1-xTB are refused for these elements; empty where they are not."""
    present = set(symbols)
    halogens, acceptors = sorted(present & _HALOGENS), sorted(present & _ACCEPTORS)
    if not halogens or not acceptors:
        return ""
    return (
        f"energies, forces and stress of GFN1-xTB are wrong for {halogens[0]} with {acceptors[0]} (its halogen-bond "
        "term); ask for gap, VBM and CBM only, or use method GPW"
    )


def check_output(output: Cp2kOutput, crystal: Crystal, settings: Cp2kSettings, version: str) -> None:
    """Raise unless ``output`` is of this crystal and of these settings.

    The project's name is a hash of structure and settings, so an output of another input is told by it; structure,
    electrons and k points are compared as well, because a name can be copied.

    Raises
    ------
    InputFileError
        What differs, in one sentence.
    """
    if output.project != settings.project:
        raise _another(output, f"project {output.project}", settings.project)
    if version and output.version != version:
        raise _another(output, f"CP2K version {output.version}", version)
    _check_structure(output, crystal)
    if settings.potential:
        valence = {entry.element: entry.electrons for entry in settings.potential}
        expected = np.array([valence[symbol] for symbol in crystal.symbols], dtype=float)
        if np.abs(output.valence - expected).max() > 1e-3:
            raise _another(output, "other valence electrons", "those of the potentials")
    if output.bands is not None:
        _check_bands(output, settings)


def _check_structure(output: Cp2kOutput, crystal: Crystal) -> None:
    if output.numbers != tuple(int(number) for number in crystal.numbers):
        raise _another(output, f"{len(output.numbers)} atoms or other elements", crystal.formula)
    cell = right_handed(crystal.cell_A)
    differences = {
        "positions": np.abs(output.positions_A - crystal.positions_A).max() / POSITION_A,
        "lattice vectors": np.abs(output.cell_A - cell).max() / CELL_A,
        "volume": abs(output.volume_A3 / crystal.volume_A3 - 1.0) / 1e-6,
    }
    for what, difference in differences.items():
        if not difference <= 1.0:
            raise _another(output, f"other {what}", "those of this structure")


def _check_bands(output: Cp2kOutput, settings: Cp2kSettings) -> None:
    assert output.bands is not None
    bands = output.bands
    electrons = float(output.valence.sum()) - settings.charge
    if abs(bands.electrons - electrons) > 1e-3:
        raise _another(output, f"{bands.electrons:g} electrons", f"{electrons:g}")
    spins = 2 if settings.multiplicity else 1
    if len(bands.eigenvalues_eV) != spins:
        raise _another(output, f"{len(bands.eigenvalues_eV)} spins", spins)
    same = bands.k_points.shape == settings.k_points.shape
    if not same or np.abs(bands.k_points - settings.k_points).max() > K:
        raise _another(output, "other k points", "those of the input")
    if np.abs(bands.k_weights - settings.k_weights).max() > K:
        raise _another(output, "other weights of the k points", "those of the input")


def _another(output: Cp2kOutput, found: str, wanted: Any) -> InputFileError:
    return InputFileError(
        f"{output.place} is of another calculation: it has {found}; expected {wanted}; delete it and run CP2K again"
    )
