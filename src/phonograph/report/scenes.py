"""Crystals for the page: data for the three-dimensional panels and still drawings for print and without WebGL."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from phonograph.report.markup import Content, Markup, tag
from phonograph.report.palette import element_colour, ramp
from phonograph.report.svg import px
from phonograph.types import Crystal, Explanation, FloatArray, IntArray

PAPER_THRESHOLD = 0.86
"""Edges above this importance are shown first (the threshold of the published figure)."""

BOND_COLOUR = "#9AA5B1"
TURN_DEG, TILT_DEG = -24.0, 14.0
"""First view: the crystal's z axis up, turned about it, then tilted towards the reader."""


@dataclass(frozen=True)
class View:
    """One set of positions of the same atoms, Å, shape (n, 3), with the name on its button."""

    name: str
    positions_A: FloatArray


def sphere_radius(atomic_number: int) -> float:
    """Return the drawn radius, Å: 0.38 of the covalent radius, which leaves bonds visible."""
    from ase.data import covalent_radii

    return round(0.38 * float(covalent_radii[atomic_number]), 3)


def crystal_scene(crystal: Crystal, views: Sequence[View]) -> dict[str, Any]:
    """Return the scene of a crystal: sites, copies on opposite faces, nearest bonds, and one view per geometry."""
    atom, shift = face_copies(crystal)
    bonds = _drawn_bonds(crystal, atom, shift)
    image = np.array([bond[2:] for bond in bonds], dtype=np.float64).reshape(-1, 3)
    return {
        **_base(crystal),
        "views": [{"name": view.name, "positions": _rounded(view.positions_A)} for view in views],
        "copies": {"atom": atom.tolist(), "shift": _rounded(shift @ crystal.cell_A)},
        "bonds": {
            "i": [bond[0] for bond in bonds],
            "j": [bond[1] for bond in bonds],
            "shift": _rounded(image @ crystal.cell_A),
        },
    }


def explanation_scene(explanation: Explanation, threshold: float, scale: float) -> dict[str, Any]:
    """Return the scene of edges with their importance; those below ``threshold`` are hidden at first.

    ``scale`` is the importance that has the darkest colour and the thickest stick.
    """
    crystal = explanation.crystal
    return {
        **_base(crystal),
        "views": [{"name": "reference", "positions": _rounded(crystal.positions_A)}],
        "edges": {
            "i": explanation.i.tolist(),
            "j": explanation.j.tolist(),
            "shift": _rounded(explanation.image @ crystal.cell_A),
            "importance": [round(float(value), 4) for value in explanation.importance],
        },
        "threshold": threshold,
        "scale": scale,
    }


def _base(crystal: Crystal) -> dict[str, Any]:
    species = dict(zip(crystal.symbols, crystal.numbers.tolist(), strict=True))
    return {
        "cell": _rounded(crystal.cell_A),
        "elements": list(crystal.symbols),
        "species": {s: {"color": element_colour(z), "radius": sphere_radius(z)} for s, z in species.items()},
        "view": [round(x, 6) for x in quaternion()],
    }


def _rounded(values: FloatArray) -> list[list[float]]:
    return [[round(float(x), 3) + 0.0 for x in row] for row in values]


def first_threshold(importance: FloatArray) -> float:
    """Return 0.86, or the 95 % quantile (down to 0.01) where no edge is that important."""
    if len(importance) == 0 or float(importance.max()) >= PAPER_THRESHOLD:
        return PAPER_THRESHOLD
    return math.floor(100 * float(np.quantile(importance, 0.95))) / 100


def importance_scale(importance: FloatArray) -> float:
    """Return where the colours of importances end: 1, or the next 0.05 above the largest where all are below 0.5."""
    largest = float(importance.max()) if len(importance) else 1.0
    return 1.0 if largest >= 0.5 else max(math.ceil(20 * largest) / 20, 0.05)


def face_copies(crystal: Crystal, tolerance: float = 0.02) -> tuple[IntArray, IntArray]:
    """Return (atom, integer shift) of the copies that atoms on a face, edge or corner have on the opposite ones."""
    atoms, shifts = [], []
    for atom, place in enumerate(crystal.fractional):
        choices = [(0, 1) if abs(x) < tolerance else (0, -1) if abs(x - 1) < tolerance else (0,) for x in place]
        for shift in np.stack(np.meshgrid(*choices, indexing="ij"), axis=-1).reshape(-1, 3):
            if shift.any():
                atoms.append(atom)
                shifts.append(shift)
    return np.array(atoms, dtype=np.int64), np.array(shifts, dtype=np.int64).reshape(-1, 3)


def nearest_bonds(crystal: Crystal, factor: float = 1.15) -> tuple[IntArray, IntArray, IntArray]:
    """Return (i, j, image) of pairs nearer than ``factor`` times the sum of their covalent radii, each once."""
    from ase import Atoms
    from ase.data import covalent_radii
    from ase.neighborlist import neighbor_list

    atoms = Atoms(numbers=crystal.numbers, positions=crystal.positions_A, cell=crystal.cell_A, pbc=True)
    # A list of radii makes pairs up to the sum of both: exactly the bound.
    i, j, image = neighbor_list("ijS", atoms, factor * covalent_radii[crystal.numbers])
    found = {_undirected((*pair, *shift)) for pair, shift in zip(zip(i, j, strict=True), image, strict=True)}
    packed = np.array(sorted(found), dtype=np.int64).reshape(-1, 5)
    return packed[:, 0], packed[:, 1], packed[:, 2:]


def _drawn_bonds(crystal: Crystal, atom: IntArray, shift: IntArray) -> list[tuple[int, ...]]:
    """Return (i, j, image) of the bonds inside the cell and to copies on its faces."""
    copies = {(int(a), *(int(x) for x in s)) for a, s in zip(atom, shift, strict=True)}
    drawn = []
    for i, j, image in zip(*nearest_bonds(crystal), strict=True):
        there = (int(i), int(j), *(int(x) for x in image))
        back = (int(j), int(i), *(int(-x) for x in image))
        inside = not image.any()
        drawn += [bond for bond in ({there} if inside else {there, back}) if inside or bond[1:] in copies]
    return sorted(drawn)


def _undirected(row: Sequence[int]) -> tuple[int, ...]:
    i, j, a, b, c = (int(value) for value in row)
    return min((i, j, a, b, c), (j, i, -a, -b, -c))


def rotation() -> FloatArray:
    """Return the rotation of the first view; rows are the screen's right, up and towards the reader."""
    turn, tilt = math.radians(TURN_DEG), math.radians(TILT_DEG)
    stand = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]], dtype=np.float64)
    about_up = np.array([[math.cos(turn), 0, math.sin(turn)], [0, 1, 0], [-math.sin(turn), 0, math.cos(turn)]])
    about_right = np.array([[1, 0, 0], [0, math.cos(tilt), -math.sin(tilt)], [0, math.sin(tilt), math.cos(tilt)]])
    return np.asarray(about_right @ about_up @ stand, dtype=np.float64)


def quaternion() -> tuple[float, float, float, float]:
    """Return :func:`rotation` as a unit quaternion (x, y, z, w)."""
    from scipy.spatial.transform import Rotation

    x, y, z, w = Rotation.from_matrix(rotation()).as_quat()
    return float(x), float(y), float(z), float(w)


def still(scene: Mapping[str, Any], description: str, *, width: int = 560, height: int = 460) -> Markup:
    """Return an orthographic drawing of a scene's first view, for print and for browsers without WebGL."""
    turn, cell = rotation(), np.array(scene["cell"])
    positions = np.array(scene["views"][0]["positions"]).reshape(-1, 3)
    atoms = _atoms(scene, positions)
    lines = _lines(scene, positions)
    corners = np.array([[a, b, c] for a in (0, 1) for b in (0, 1) for c in (0, 1)]) @ cell
    everything = np.concatenate([corners, *[np.array([place]) for place, *_ in atoms]]) @ turn.T
    low, high = everything[:, :2].min(axis=0) - 0.7, everything[:, :2].max(axis=0) + 0.7
    zoom = float(min((width - 8) / (high[0] - low[0]), (height - 8) / (high[1] - low[1])))
    middle, depth = (low + high) / 2, (everything[:, 2].min(), everything[:, 2].max())

    def project(point: FloatArray) -> tuple[float, float, float]:
        x, y, z = turn @ point
        nearness = (z - depth[0]) / max(depth[1] - depth[0], 1e-9)
        return width / 2 + (x - middle[0]) * zoom, height / 2 - (y - middle[1]) * zoom, float(nearness)

    marks: list[tuple[float, Markup]] = [(-1.0, _edge_line(project, a, b)) for a, b in _cell_edges(cell)]
    marks += [_stick(project, *line) for line in lines]
    marks += [_ball(project, place, colour, radius * zoom) for place, colour, radius in atoms]
    ordered = [mark for _, mark in sorted(marks, key=lambda pair: pair[0])]
    return tag(
        "svg",
        *ordered,
        viewBox=f"0 0 {width} {height}",
        width=width,
        height=height,
        role="img",
        aria_label=description,
        class_="still",
    )


def _atoms(scene: Mapping[str, Any], positions: FloatArray) -> list[tuple[FloatArray, str, float]]:
    looks = [scene["species"][symbol] for symbol in scene["elements"]]
    drawn = [(place, look["color"], look["radius"]) for place, look in zip(positions, looks, strict=True)]
    copies = scene.get("copies", {"atom": [], "shift": []})
    for atom, shift in zip(copies["atom"], copies["shift"], strict=True):
        drawn.append((positions[atom] + np.array(shift), looks[atom]["color"], looks[atom]["radius"]))
    for end, atom in _image_ends(scene, positions):
        drawn.append((end, looks[atom]["color"], 0.5 * looks[atom]["radius"]))
    return drawn


def _shown_edges(scene: Mapping[str, Any]) -> list[tuple[int, int, FloatArray, float]]:
    """Return the edges above the first threshold; those that leave the cell appear from both of their atoms."""
    edges = scene.get("edges")
    if edges is None:
        return []
    shown = []
    for i, j, shift, value in zip(edges["i"], edges["j"], edges["shift"], edges["importance"], strict=True):
        if value >= scene["threshold"]:
            offset = np.array(shift)
            shown.append((i, j, offset, value))
            if offset.any():
                shown.append((j, i, -offset, value))
    return shown


def _image_ends(scene: Mapping[str, Any], positions: FloatArray) -> list[tuple[FloatArray, int]]:
    ends = {(j, tuple(shift.tolist())) for _, j, shift, _ in _shown_edges(scene) if shift.any()}
    return [(positions[j] + np.array(shift), j) for j, shift in sorted(ends)]


def _lines(scene: Mapping[str, Any], positions: FloatArray) -> list[tuple[FloatArray, FloatArray, str, float]]:
    """Return (start, end, colour, width) of bonds and edges, from surface to surface of their atoms."""
    bonds = scene.get("bonds", {"i": [], "j": [], "shift": []})
    pairs = zip(bonds["i"], bonds["j"], bonds["shift"], strict=True)
    found = [(i, j, np.array(shift), BOND_COLOUR, 2.2) for i, j, shift in pairs]
    for i, j, shift, value in _shown_edges(scene):
        share = value / scene["scale"]
        found.append((i, j, shift, ramp(share), 2.0 + 3.0 * share))
    radii = [0.9 * scene["species"][symbol]["radius"] for symbol in scene["elements"]]
    small = 0.5 if "edges" in scene else 1.0  # images at the ends of edges are drawn small, face copies are not
    lines = []
    for i, j, shift, colour, width in found:
        start, end = positions[i], positions[j] + shift
        unit = (end - start) / max(float(np.sqrt(((end - start) ** 2).sum())), 1e-9)
        lines.append((start + radii[i] * unit, end - (small if shift.any() else 1.0) * radii[j] * unit, colour, width))
    return lines


def _cell_edges(cell: FloatArray) -> list[tuple[FloatArray, FloatArray]]:
    edges = []
    for axis in range(3):
        for a in (0, 1):
            for b in (0, 1):
                start = np.insert(np.array([a, b]), axis, 0)
                end = np.insert(np.array([a, b]), axis, 1)
                edges.append((start @ cell, end @ cell))
    return edges


def _edge_line(project: Any, a: FloatArray, b: FloatArray) -> Markup:
    (x1, y1, _), (x2, y2, _) = project(a), project(b)
    return tag("path", d=f"M{px(x1)} {px(y1)}L{px(x2)} {px(y2)}", stroke="currentColor", stroke_opacity=0.35)


def _stick(project: Any, a: FloatArray, b: FloatArray, colour: str, width: float) -> tuple[float, Markup]:
    (x1, y1, near1), (x2, y2, near2) = project(a), project(b)
    nearness = (near1 + near2) / 2
    path = f"M{px(x1)} {px(y1)}L{px(x2)} {px(y2)}"
    return nearness, tag(
        "path",
        d=path,
        stroke=colour,
        stroke_width=px(width),
        stroke_linecap="round",
        stroke_opacity=f"{0.45 + 0.55 * nearness:.2f}",
    )


def _ball(project: Any, place: FloatArray, colour: str, radius: float) -> tuple[float, Markup]:
    x, y, nearness = project(place)
    size = {"cx": px(x), "cy": px(y), "r": px(radius)}
    disc = tag(
        "circle",
        **size,
        fill=colour,
        stroke="#33404D",
        stroke_opacity=0.55,
        class_="ball" if nearness > 0.35 else "ball far",
    )
    return nearness + 0.01, disc


def panel(name: str, picture: Content, controls: Content = None) -> Markup:
    """Return the frame of a three-dimensional panel with its still drawing inside."""
    stage = tag("div", picture, tag("div", class_="stage"), class_="crystal", data_scene=name)
    return tag("div", stage, controls, class_="panel")
