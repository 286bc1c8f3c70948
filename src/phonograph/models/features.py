"""From atomic numbers and distances to node features and edge weights, scaled on the training split only."""

from __future__ import annotations

import numpy as np

from phonograph.errors import ConfigurationError, DataError
from phonograph.models.elements import CALCULATED_RADIUS_PM, ELECTRONEGATIVITY, MASS_AMU, RADIUS_PM
from phonograph.types import FloatArray, GraphSet, InputScaling, IntArray

EDGE_LAWS = ("cosine", "radial", "minmax", "fixed")
NODE_FEATURES = ("elements", "paper-code")

FIXED_BOUNDS_A = (0.7115, 5.5)
"""d_min and d_max typed into the authors' scripts that retrain networks and predict with them (2024–2025), Å.

An older script of theirs, which predicts only, has d_min = 0.6932 Å.
"""

LARGEST_PUBLISHED_NUMBER = 83
"""Up to bismuth the authors' element number is Z − 1; beyond, their list leaves elements out."""

_ENVELOPE = 6
_TABLE: FloatArray = np.array(  # atomic number, mass (amu), radius (pm), electronegativity
    [[z, *row] for z, row in enumerate(zip(MASS_AMU, RADIUS_PM, ELECTRONEGATIVITY, strict=True), start=1)]
)
_PUBLISHED_TABLE: FloatArray = _TABLE - [1, 0, 0, 0]
_PUBLISHED_TABLE[:, 2] = CALCULATED_RADIUS_PM
_PUBLISHED_BOUNDS = ((0.0, 1.008, 42.0, 0.79), (88.0, 244.0, 298.0, 3.98))


def raw_features(numbers: IntArray, node_features: str = "elements") -> FloatArray:
    """Return (Z, mass in amu, radius in pm, Pauling electronegativity) of each atom, shape (n, 4).

    Parameters
    ----------
    numbers
        Atomic numbers, shape (n,).
    node_features
        ``"elements"``: covalent radii; elements without a Pauling electronegativity (He, Ne, Ar, Z ≥ 104) get 0, see
        :func:`without_electronegativity`.  ``"paper-code"``: Z − 1 for Z, and calculated radii of free atoms, as in
        the authors' scripts.  Sources: :mod:`phonograph.models.elements`.

    Raises
    ------
    DataError
        When the authors' table (``"paper-code"``) has no entry, or one made up by hand, for an element.
    """
    places = np.asarray(numbers) - 1
    if node_features == "elements":
        return np.asarray(_TABLE[places])
    present = np.unique(numbers)
    missing = [int(z) for z in present if z > LARGEST_PUBLISHED_NUMBER or not _PUBLISHED_TABLE[z - 1, 2:].all()]
    if missing:
        raise DataError(
            f"node_features = 'paper-code' has no published radius or electronegativity of {_symbols(missing)}; "
            "use node_features = 'elements'"
        )
    return np.asarray(_PUBLISHED_TABLE[places])


def without_electronegativity(numbers: IntArray) -> tuple[int, ...]:
    """Return the atomic numbers among ``numbers`` that have no Pauling electronegativity, ascending."""
    return tuple(int(z) for z in np.unique(numbers) if ELECTRONEGATIVITY[z - 1] == 0)


def fit_input_scaling(
    graphs: GraphSet, edge_law: str = "cosine", *, radial_functions: int = 8, node_features: str = "elements"
) -> InputScaling:
    """Fit the scaling of features and distances; pass the graphs of the *training* split only.

    Parameters
    ----------
    graphs
        Training graphs.
    edge_law
        ``"cosine"``, ``"radial"``, ``"minmax"`` or ``"fixed"``: see :func:`edge_weights`.  d_min and d_max of
        ``"minmax"`` are those of the training edges, not the cutoff; those of ``"fixed"`` are
        :data:`FIXED_BOUNDS_A`; of the others d_max is the cutoff.
    radial_functions
        K, how many functions ``"radial"`` has; the other laws have one.
    node_features
        ``"elements"``: scaled to [0, 1] on the training elements.  ``"paper-code"``: the authors' table, scaled with
        the bounds typed into their scripts, which are those of all its elements.

    Raises
    ------
    ConfigurationError
        For an unknown law or table, or too few functions.
    DataError
        When there is no graph, no edge, (min–max) when all edges have the same length, or when the authors' table has
        no entry for an element.
    """
    _check(graphs, edge_law, node_features, radial_functions)
    shortest, longest = float(graphs.distance_A.min()), float(graphs.distance_A.max())
    if edge_law == "minmax" and longest - shortest < 1e-6:
        raise DataError(
            f"min–max edge weights need edges of different lengths, but all training edges are {shortest:.6g} Å long; "
            'use edge_law = "cosine" or a larger cutoff'
        )
    bounds = {"minmax": (shortest, longest), "fixed": FIXED_BOUNDS_A}
    low, high = bounds.get(edge_law, (shortest, float(graphs.spec.cutoff_A)))
    elements = np.unique(graphs.numbers)
    table = raw_features(elements, node_features)
    if node_features == "paper-code":
        table = np.array(_PUBLISHED_BOUNDS)
    return InputScaling(
        edge_law=edge_law,
        distance_min_A=low,
        distance_max_A=high,
        feature_min=tuple(table.min(axis=0).tolist()),
        feature_max=tuple(table.max(axis=0).tolist()),
        elements=tuple(elements.tolist()),
        radial_functions=radial_functions if edge_law == "radial" else 0,
        node_features=node_features,
    )


def _check(graphs: GraphSet, edge_law: str, node_features: str, radial_functions: int) -> None:
    for name, value, known in (("edge_law", edge_law, EDGE_LAWS), ("node_features", node_features, NODE_FEATURES)):
        if value not in known:
            raise ConfigurationError(f"{name} must be one of {', '.join(map(repr, known))}; got {value!r}")
    if edge_law == "radial" and radial_functions < 2:
        raise ConfigurationError(f"radial_functions must be at least 2; got {radial_functions}")
    if len(graphs) == 0 or len(graphs.distance_A) == 0:
        raise DataError(
            f"the {len(graphs)} training graphs have no edge within {graphs.spec.cutoff_A:g} Å; raise the cutoff"
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
    scaled = (raw_features(np.asarray(numbers), scaling.node_features) - lowest) / np.where(spread > 0, spread, 1.0)
    scaled[:, spread == 0] = 0.0
    return np.asarray(scaled)


def edge_weights(distance_A: FloatArray, scaling: InputScaling) -> FloatArray:
    """Return the weights e of each edge by the law in ``scaling``; distances outside its range are not clipped.

    ``"cosine"``: e = ½(1 + cos(πd/r_c)), which falls smoothly to zero at the cutoff r_c.

    ``"radial"``: e_k = u(d/r_c)·exp(−(d − μ_k)²/2δ²) for k = 0 … K − 1, Gaussians at μ_k = d_min + kδ,
    δ = (r_c − d_min)/K, with the envelope u(x) = 1 − 28x⁶ + 48x⁷ − 21x⁸ for x < 1, whose value and first two
    derivatives vanish at the cutoff.

    ``"minmax"`` and ``"fixed"``: e = (d − d_min)/(d_max − d_min), the paper's law, in which the farthest atom weighs
    most and jumps to nothing at the cutoff.

    Symbols: d ``distance_A``, d_min ``scaling.distance_min_A``, r_c and d_max ``scaling.distance_max_A``,
    K ``scaling.radial_functions``.

    Parameters
    ----------
    distance_A
        Length of each edge, Å, shape (edges,).
    scaling
        From :func:`fit_input_scaling`.

    Returns
    -------
    array
        Shape (edges,), or (edges, K) for ``"radial"``.

    Notes
    -----
    Gaussians of distances: Schütt et al., J. Chem. Phys. 148, 241722 (2018), doi:10.1063/1.5019779.  Envelope with
    p = 6: Gasteiger, Groß & Günnemann, ICLR 2020, doi:10.48550/arXiv.2003.03123.
    """
    low, high = scaling.distance_min_A, scaling.distance_max_A
    if scaling.edge_law in ("minmax", "fixed"):
        return np.asarray((distance_A - low) / (high - low))
    if scaling.edge_law == "radial":
        step = (high - low) / scaling.radial_functions
        apart = (distance_A[:, None] - low) / step - np.arange(scaling.radial_functions)
        return np.asarray(_envelope(distance_A / high)[:, None] * np.exp(-0.5 * apart**2))
    return np.asarray(0.5 * (1.0 + np.cos(np.pi * distance_A / high)))


def _envelope(x: FloatArray) -> FloatArray:
    """Return 1 − ½(p+1)(p+2)x^p + p(p+2)x^(p+1) − ½p(p+1)x^(p+2) for x < 1, else 0."""
    p = _ENVELOPE
    inner = 1 - (p + 1) * (p + 2) / 2 * x**p + p * (p + 2) * x ** (p + 1) - p * (p + 1) / 2 * x ** (p + 2)
    return np.where(x < 1, inner, 0.0)


def edges_outside(graphs: GraphSet, scaling: InputScaling) -> int:
    """Count the edges whose distance lies outside the range seen in training (they are used as they are)."""
    below, above = graphs.distance_A < scaling.distance_min_A, graphs.distance_A > scaling.distance_max_A
    return int((below | above).sum())


def _symbols(numbers: tuple[int, ...] | list[int]) -> str:
    from ase.data import chemical_symbols

    return ", ".join(chemical_symbols[z] for z in numbers)
