"""Part 1: the crystal."""

from __future__ import annotations

import itertools
import warnings

import numpy as np

from phonograph.report.markup import Content, Markup, figure, join, table, tag
from phonograph.report.material import ReportMaterial
from phonograph.report.outline import Section, dot_swatch
from phonograph.report.palette import element_colour
from phonograph.report.scenes import View, crystal_scene, panel, still
from phonograph.report.words import fixed, formula_markup, number, plural, space_group_markup
from phonograph.types import Crystal, FloatArray

TITLE = "Structure"


def structure(material: ReportMaterial) -> Section:
    """Return the section with the crystal, its supercell and one displaced example of each set."""
    crystal = material.reference or material.first_sites
    if crystal is None:
        sentence = "No reference crystal: the displaced structures were brought without their equilibrium sites."
        return Section(key="structure", title=TITLE, lead=sentence)
    views = [View("equilibrium sites", crystal.positions_A), *_examples(material, crystal)]
    scene = crystal_scene(crystal, views)
    picture = panel("structure", still(scene, f"Drawing of {crystal.formula}"), _controls(views))
    facts = tag("div", _species(crystal), _facts(material, crystal))
    caption = (
        "Atoms at a third of their covalent radius; sticks join atoms nearer than 1.15 times the sum of their "
        "covalent radii at the equilibrium sites. The buttons show the first configuration of each set that "
        "has these atoms, where its law put them. Drag to turn, Ctrl + wheel to zoom."
    )
    body = figure("1.1", caption, tag("div", picture, facts, class_="split"), numbers=_sites(crystal))
    return Section(key="structure", title=TITLE, lead=_lead(material, crystal), body=body, scenes={"structure": scene})


def _lead(material: ReportMaterial, crystal: Crystal) -> Markup:
    small = material.crystal or crystal
    if material.reference is None:
        return join(
            "The equilibrium sites of the first configuration, ",
            formula_markup(small.formula),
            f" with {plural(len(small), 'atom')}; the sets hold {plural(_compositions(material), 'composition')}.",
        )
    start = join(formula_markup(small.formula), f" with {plural(len(small), 'atom')} in the cell of the input")
    if material.phonons is None:
        return join(start, ".")
    return join(
        start,
        f"; everything below refers to the {_cells(material)} supercell of {len(crystal)} atoms",
        _symmetry(small),
    )


def _compositions(material: ReportMaterial) -> int:
    """Return how many different formulas the sets hold."""
    found = set()
    for item in material.sets:
        for start, end in itertools.pairwise(item.offsets):
            found.add(np.bincount(item.numbers[start:end]).tobytes())
    return len(found)


def _symmetry(crystal: Crystal) -> Markup:
    symbol = space_group(crystal)
    return join(", space group ", space_group_markup(symbol), ".") if symbol else join(".")


def _cells(material: ReportMaterial) -> str:
    assert material.phonons is not None
    matrix = material.phonons.force_constants.supercell_matrix
    if np.array_equal(matrix, np.diag(np.diag(matrix))):
        return " × ".join(str(int(x)) for x in np.diag(matrix))
    return "; ".join(" ".join(str(int(x)) for x in row) for row in matrix)


def space_group(crystal: Crystal, tolerance_A: float = 1e-3) -> str:
    """Return the Hermann–Mauguin symbol found at ``tolerance_A``, or nothing where none is found."""
    import spglib

    cell = (crystal.cell_A, crystal.fractional, crystal.numbers)
    with warnings.catch_warnings():
        # spglib announces that failures will raise one day; today it returns None, which is handled here.
        warnings.simplefilter("ignore", DeprecationWarning)
        found = spglib.get_symmetry_dataset(cell, symprec=tolerance_A)
    return str(found.international) if found is not None else ""


def _examples(material: ReportMaterial, crystal: Crystal) -> list[View]:
    """Return the first configuration of each set that has the reference's atoms."""
    views = []
    for configurations in material.sets:
        first = configurations.crystal(0)
        if np.array_equal(first.numbers, crystal.numbers) and np.allclose(first.cell_A, crystal.cell_A, atol=1e-6):
            views.append(View(configurations.name, first.positions_A))
    return views


def _controls(views: list[View]) -> Markup:
    shown = [
        tag("button", view.name, type="button", data_view=place, aria_pressed="true" if place == 0 else "false")
        for place, view in enumerate(views)
    ]
    zoom = [tag("button", words, type="button", data_zoom=factor) for words, factor in (("−", 0.8), ("+", 1.25))]
    groups = [
        tag("span", shown, class_="group", role="group", aria_label="geometry"),
        tag("span", zoom, class_="group"),
    ]
    return tag("div", groups, class_="controls needs-js")


def _species(crystal: Crystal) -> Markup:
    species = dict(zip(crystal.symbols, crystal.numbers.tolist(), strict=True))
    keys = [tag("span", dot_swatch(element_colour(z)), symbol, class_="key") for symbol, z in species.items()]
    return tag("div", keys, class_="legend")


def _facts(material: ReportMaterial, crystal: Crystal) -> Markup:
    crystal = material.crystal or crystal
    lengths, angles = lattice_parameters(crystal)
    rows: list[list[Content]] = [["formula", formula_markup(crystal.formula)]]
    symbol = space_group(crystal)
    rows += [["space group", join(space_group_markup(symbol), " (tolerance 0.001 Å)")]] if symbol else []
    rows += [
        ["lengths a, b, c", ", ".join(fixed(x, 4) for x in lengths) + " Å"],
        ["angles α, β, γ", ", ".join(fixed(x, 2) for x in angles) + "°"],
        ["volume", f"{fixed(crystal.volume_A3, 2)} Å³ for {plural(len(crystal), 'atom')}"],
        ["density", f"{fixed(density(crystal), 3)} g/cm³"],
    ]
    rows += [["supercell", f"{_cells(material)}, {len(material.phonons.supercell)} atoms"]] if material.phonons else []
    rows += [["title in the file", crystal.title]] if crystal.title else []
    return table(["", ""], rows, words=2, class_="facts")


def lattice_parameters(crystal: Crystal) -> tuple[FloatArray, FloatArray]:
    """Return lengths (Å) and angles α, β, γ (degrees)."""
    cell = crystal.cell_A
    lengths = np.sqrt((cell**2).sum(axis=1))
    pairs = ((1, 2), (0, 2), (0, 1))
    cosines = [float(cell[i] @ cell[j] / (lengths[i] * lengths[j])) for i, j in pairs]
    return lengths, np.degrees(np.arccos(np.clip(cosines, -1, 1)))


def density(crystal: Crystal) -> float:
    """Return the density, g/cm³."""
    from phonograph.units import ATOMIC_MASS_KG

    return float(crystal.masses_amu.sum() / crystal.volume_A3 * ATOMIC_MASS_KG * 1e27)


def _sites(crystal: Crystal) -> Markup:
    rows = [
        [
            str(place),
            symbol,
            *(fixed(float(x), 4) for x in fractional),
            *(fixed(float(x), 4) for x in position),
            number(mass, 6),
        ]
        for place, (symbol, fractional, position, mass) in enumerate(
            zip(crystal.symbols, crystal.fractional, crystal.positions_A, crystal.masses_amu.tolist(), strict=True)
        )
    ]
    head = ["site", "element", "a", "b", "c (fractional)", "x", "y", "z (Å)", "mass (amu)"]
    return table(head, rows, words=2)
