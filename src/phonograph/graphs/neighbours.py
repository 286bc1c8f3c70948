"""All neighbours of one periodic crystal within a radius, by two routes that give the same pairs.

The lattice is Minkowski-reduced first where it is skewed, so that few images suffice for any cell; image indices
are those of the lattice that was passed in.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from phonograph.errors import DataError
from phonograph.types import FloatArray, IntArray

DENSE_PAIRS = 2_000_000
"""Up to this many (atom, atom, image) triples are tried one by one; above, a k-d tree finds the near ones."""

MAX_PAIRS = 500_000_000
"""Most directed edges of a set that are built; about 11 GB."""

_SKEWED_IMAGES = 125


class Pairs(NamedTuple):
    """Directed pairs: |r_source + image·cell − r_target| < radius; sorted by (target, source, image)."""

    target: IntArray
    source: IntArray
    image: IntArray


def neighbours(cell_A: FloatArray, fractional: FloatArray, radius_A: float, route: str | None = None) -> Pairs:
    """Find every directed pair (target, source, image) closer than ``radius_A``, an atom's own images included.

    Parameters
    ----------
    cell_A
        Lattice vectors as rows, Å, shape (3, 3), of any shape and handedness.
    fractional
        Positions in units of the lattice vectors, shape (n, 3); they may lie anywhere.
    radius_A
        Radius, Å; may exceed the cell.
    route
        ``"dense"`` or ``"tree"``; by size where not given.

    Raises
    ------
    DataError
        When more than :data:`MAX_PAIRS` pairs are to be expected.
    """
    size = len(fractional)
    expected = expected_pairs(size, cell_A, radius_A)
    if expected > MAX_PAIRS:
        raise DataError(
            f"a radius of {radius_A:g} Å would give about {expected:.1e} edges in a crystal of {size} atoms; "
            f"at most {MAX_PAIRS:.0e} are built, so choose a smaller cutoff"
        )
    basis, operation = _reduced(cell_A, radius_A)
    inner = fractional @ np.linalg.inv(operation)
    shift = np.floor(inner)
    inner -= shift
    images = _images(basis, radius_A)
    if route is None:
        route = "dense" if size**2 * len(images) <= DENSE_PAIRS else "tree"
    find = _dense if route == "dense" else _tree
    target, source, image = find(basis, inner, images, radius_A)
    shift = shift.astype(np.int64)
    image = (image - shift[source] + shift[target]) @ operation
    order = np.lexsort((image[:, 2], image[:, 1], image[:, 0], source, target))
    return Pairs(target[order], source[order], image[order])


def expected_pairs(size: int, cell_A: FloatArray, radius_A: float) -> float:
    """Return n²·(4/3)πr³/V, the number of directed pairs of ``size`` atoms if they were spread evenly."""
    return float(size**2 * 4.0 / 3.0 * np.pi * radius_A**3 / abs(np.linalg.det(cell_A)))


def _reduced(cell_A: FloatArray, radius_A: float) -> tuple[FloatArray, IntArray]:
    """Return (basis, operation) with basis = operation @ cell_A, |det operation| = 1, and a compact basis."""
    if np.prod(2.0 * _reach(cell_A, radius_A) + 1) < _SKEWED_IMAGES:
        return cell_A, np.eye(3, dtype=np.int64)
    from ase.geometry.minkowski_reduction import minkowski_reduce

    operation = np.asarray(minkowski_reduce(np.array(cell_A))[1], dtype=np.int64)
    return operation @ cell_A, operation


def _reach(basis: FloatArray, radius_A: float) -> IntArray:
    """Return the largest |k| along each axis of an image within reach of atoms wrapped into the cell.

    Two wrapped atoms differ by less than one lattice vector along each axis, so image k is out of reach once
    (|k| − 1)·h ≥ radius with h the spacing of the lattice planes.
    """
    per_spacing = radius_A * np.linalg.norm(np.linalg.inv(basis), axis=0)
    return np.asarray(np.ceil(per_spacing + 1e-9), dtype=np.int64)


def _images(basis: FloatArray, radius_A: float) -> IntArray:
    axes = (np.arange(-reach, reach + 1) for reach in _reach(basis, radius_A))
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)


def _dense(basis: FloatArray, inner: FloatArray, images: IntArray, radius_A: float) -> tuple[IntArray, ...]:
    positions = inner @ basis
    apart = positions[None, :, :] - positions[:, None, :]
    step = max(1, DENSE_PAIRS // len(positions) ** 2)
    found = []
    for start in range(0, len(images), step):
        vectors = apart[None] + (images[start : start + step] @ basis)[:, None, None, :]
        near = np.einsum("...a,...a->...", vectors, vectors) < radius_A**2
        which, target, source = np.nonzero(near)
        found.append((which + start, target, source))
    which, target, source = (np.concatenate(part) for part in zip(*found, strict=True))
    keep = (target != source) | images[which].any(axis=1)
    return target[keep], source[keep], images[which[keep]]


def _tree(basis: FloatArray, inner: FloatArray, images: IntArray, radius_A: float) -> tuple[IntArray, ...]:
    from scipy.spatial import cKDTree

    margin = radius_A * np.linalg.norm(np.linalg.inv(basis), axis=0) + 1e-9
    owners, places, labels = [], [], []
    for image in images:
        moved = inner + image
        near = np.flatnonzero(((moved > -margin) & (moved < 1 + margin)).all(axis=1))
        owners.append(near)
        places.append(moved[near])
        labels.append(np.repeat(image[None], len(near), axis=0))
    owner, image = np.concatenate(owners), np.concatenate(labels)
    around = cKDTree(np.concatenate(places) @ basis)
    home = cKDTree(inner @ basis)
    pairs = home.sparse_distance_matrix(around, radius_A, output_type="ndarray")
    target, copy = pairs["i"].astype(np.int64), pairs["j"].astype(np.int64)
    keep = ((target != owner[copy]) | image[copy].any(axis=1)) & (pairs["v"] < radius_A)
    return target[keep], owner[copy[keep]], image[copy[keep]]
