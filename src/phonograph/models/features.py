"""From atomic numbers and distances to node features and edge weights, scaled on the training split only."""

from __future__ import annotations

import numpy as np

from phonograph.errors import ConfigurationError, DataError
from phonograph.models.elements import ELECTRONEGATIVITY, MASS_AMU, RADIUS_PM
from phonograph.types import FloatArray, GraphSet, InputScaling, IntArray

EDGE_LAWS = ("cosine", "minmax")

_TABLE: FloatArray = np.array(  # atomic number, mass (amu), radius (pm), electronegativity
    [[z, *row] for z, row in enumerate(zip(MASS_AMU, RADIUS_PM, ELECTRONEGATIVITY, strict=True), start=1)]
)


def raw_features(numbers: IntArray) -> FloatArray:
    """Return (Z, mass in amu, covalent radius in pm, Pauling electronegativity) of each atom, shape (n, 4).

    Elements without a Pauling electronegativity (He, Ne, Ar, Z ≥ 104) get 0; see
    :func:`without_electronegativity`.  Sources: :mod:`phonograph.models.elements`.
    """
    return np.asarray(_TABLE[np.asarray(numbers) - 1])


def without_electronegativity(numbers: IntArray) -> tuple[int, ...]:
    """Return the atomic numbers among ``numbers`` that have no Pauling electronegativity, ascending."""
    return tuple(int(z) for z in np.unique(numbers) if ELECTRONEGATIVITY[z - 1] == 0)


def fit_input_scaling(graphs: GraphSet, edge_law: str = "cosine") -> InputScaling:
    """Fit the scaling of features and distances; pass the graphs of the *training* split only.

    Parameters
    ----------
    graphs
        Training graphs.
    edge_law
        ``"cosine"``: e = ½(1 + cos(πd/r_c)), which decays smoothly to zero at the cutoff r_c (then
        ``distance_max_A`` of the result is r_c).  ``"minmax"``: e = (d − d_min)/(d_max − d_min), the paper's law,
        in which the farthest atom weighs most; d_min and d_max are those of the training edges, not the cutoff.

    Raises
    ------
    ConfigurationError
        For an unknown law.
    DataError
        When there is no graph, no edge, or (min–max) when all edges have the same length.
    """
    if edge_law not in EDGE_LAWS:
        raise ConfigurationError(f"edge_law must be one of {', '.join(map(repr, EDGE_LAWS))}; got {edge_law!r}")
    if len(graphs) == 0 or len(graphs.distance_A) == 0:
        raise DataError(
            f"the {len(graphs)} training graphs have no edge within {graphs.spec.cutoff_A:g} Å; raise the cutoff"
        )
    shortest, longest = float(graphs.distance_A.min()), float(graphs.distance_A.max())
    if edge_law == "minmax" and longest - shortest < 1e-6:
        raise DataError(
            f"min–max edge weights need edges of different lengths, but all training edges are {shortest:.6g} Å long; "
            'use edge_law = "cosine" or a larger cutoff'
        )
    elements = np.unique(graphs.numbers)
    table = raw_features(elements)
    return InputScaling(
        edge_law=edge_law,
        distance_min_A=shortest,
        distance_max_A=longest if edge_law == "minmax" else float(graphs.spec.cutoff_A),
        feature_min=tuple(table.min(axis=0).tolist()),
        feature_max=tuple(table.max(axis=0).tolist()),
        elements=tuple(elements.tolist()),
    )


def node_features(numbers: IntArray, scaling: InputScaling) -> FloatArray:
    """Return (f − f_min)/(f_max − f_min) for each feature f, shape (n, 4); features constant in training map to 0.

    Raises
    ------
    DataError
        When an element was not among the training elements.
    """
    present = np.unique(numbers)
    unknown = present[~np.isin(present, scaling.elements)]
    if len(unknown):
        raise DataError(
            f"the network was trained on {_symbols(scaling.elements)} and knows nothing about "
            f"{_symbols(unknown.tolist())}; train one on crystals that hold these elements"
        )
    lowest, highest = np.array(scaling.feature_min), np.array(scaling.feature_max)
    spread = highest - lowest
    scaled = (_TABLE - lowest) / np.where(spread > 0, spread, 1.0)
    scaled[:, spread == 0] = 0.0
    return np.asarray(scaled[np.asarray(numbers) - 1])


def edge_weights(distance_A: FloatArray, scaling: InputScaling) -> FloatArray:
    """Return the weight e of each edge by the law in ``scaling``; distances outside its range are not clipped."""
    if scaling.edge_law == "minmax":
        return (distance_A - scaling.distance_min_A) / (scaling.distance_max_A - scaling.distance_min_A)
    return np.asarray(0.5 * (1.0 + np.cos(np.pi * distance_A / scaling.distance_max_A)))


def edges_outside(graphs: GraphSet, scaling: InputScaling) -> int:
    """Count the edges whose distance lies outside the range seen in training (they are used as they are)."""
    below, above = graphs.distance_A < scaling.distance_min_A, graphs.distance_A > scaling.distance_max_A
    return int((below | above).sum())


def _symbols(numbers: tuple[int, ...] | list[int]) -> str:
    from ase.data import chemical_symbols

    return ", ".join(chemical_symbols[z] for z in numbers)
