"""Edges by counting electrons: spins, k points, direct and indirect; and gaps that smearing blurs."""

from __future__ import annotations

import json

import numpy as np
import pytest
from label_toys import displaced

from phonograph.labels import XtbLabeller, label
from phonograph.labels.edges import band_edges
from phonograph.labels.folding import edges_by_k
from phonograph.labels.small_gaps import small_gap_warnings
from phonograph.labels.task import Calculation
from phonograph.types import Bands, LabelColumn


def bands(levels, electrons=2.0, magnetisation=0.0) -> Bands:
    levels = np.asarray(levels, dtype=float)
    count = levels.shape[1]
    return Bands(
        k_points=np.linspace(0, 0.5, count)[:, None] * np.ones(3),
        k_weights=np.ones(count),
        eigenvalues_eV=levels,
        electrons=electrons,
        magnetisation=magnetisation,
    )


def test_an_indirect_gap_is_smaller_than_the_direct_one():
    found = band_edges(bands([[[-1.0, 2.0], [0.0, 3.0]]])).values
    assert found == {"band_gap_eV": 2.0, "direct_gap_eV": 3.0, "vbm_eV": 0.0, "cbm_eV": 2.0}


def test_bands_that_overlap_have_no_gap_but_may_have_a_direct_one():
    found = band_edges(bands([[[-1.0, -0.5], [0.0, 1.0]]])).values
    assert (found["band_gap_eV"], found["direct_gap_eV"]) == (0.0, 0.5)


def test_spins_are_counted_apart_and_give_one_gap():
    # Two electrons up, none down: a triplet.
    levels = [[[-2.0, -1.0, 3.0]], [[0.5, 1.5, 4.0]]]
    found = band_edges(bands(levels, 2.0, 2.0)).values
    assert (found["vbm_eV"], found["cbm_eV"], found["band_gap_eV"]) == (-1.0, 0.5, 1.5)
    valence, conduction = edges_by_k(bands(levels, 2.0, 2.0))
    assert (valence.tolist(), conduction.tolist()) == ([-1.0], [0.5])


@pytest.mark.parametrize("moment", [1.2, 1.9, 2.3])
def test_a_ferromagnetic_metal_has_no_gap_whatever_its_moment(moment):
    """Partly filled bands give moments that are not whole; counting from the nearest possible one finds the overlap."""
    levels = [[[-3.0, -2.0, 0.5, 2.0], [-3.0, -1.0, -0.4, 2.0]], [[-2.5, 0.1, 1.0, 2.0], [-2.5, -0.5, 1.0, 2.0]]]
    found = band_edges(bands(levels, 4.0, moment))
    assert (found.failure, found.values["band_gap_eV"]) == ("", 0.0)
    valence, conduction = edges_by_k(bands(levels, 4.0, moment))
    assert (valence.max(), conduction.min()) == (found.values["vbm_eV"], found.values["cbm_eV"])


def test_a_gap_needs_a_whole_moment():
    """An insulator with half an electron excited by smearing has no edges to tell."""
    levels = [[[-2.0, -1.0, 3.0]], [[0.5, 1.5, 4.0]]]
    assert not band_edges(bands(levels, 2.0, 1.95)).failure
    found = band_edges(bands(levels, 2.0, 1.5))
    assert (found.failure, "moment of 1.5" in found.message) == ("unphysical", True)
    assert band_edges(bands(levels, 2.0, 4.0)).failure == "unphysical"


@pytest.mark.parametrize("seed", range(5))
def test_edges_equal_a_count_of_sorted_states(seed):
    draw = np.random.default_rng(seed)
    levels = np.sort(draw.normal(size=(1, 7, 6)), axis=2)
    levels[0, :, 3:] += 4.0
    found = band_edges(bands(levels, 6.0))
    states = np.sort(levels.ravel())
    assert found.values["vbm_eV"] == states[7 * 3 - 1]
    assert found.values["cbm_eV"] == states[7 * 3]
    np.testing.assert_array_equal(edges_by_k(bands(levels, 6.0)), [levels[0, :, 2], levels[0, :, 3]])


def column(values) -> LabelColumn:
    return LabelColumn(name="band_gap_eV", unit="eV", values=np.array(values), engine="e 1")


def described(**settings) -> Calculation:
    return Calculation(task="", engine="e 1", settings=json.dumps(settings), provides=("band_gap_eV",), key=b"")


def test_gaps_of_a_few_kt_are_counted():
    values = column([0.0, 5e-4, 0.1, 0.25, 0.27, 1.0, np.nan])
    (told,) = small_gap_warnings([values], [described(electronic_temperature_K=300.0)])
    assert told.startswith("2 of 7 band gaps are at most 0.26 eV")
    (told,) = small_gap_warnings([values], [described(electronic_temperature_K=3000.0)])
    assert told.startswith("4 of 7 band gaps are at most 2.59 eV")
    assert list(small_gap_warnings([column([1.0])], [described(electronic_temperature_K=300.0)])) == []
    assert list(small_gap_warnings([values], [described()])) == [], "an engine that does not smear"


@pytest.mark.parametrize(
    ("settings", "limit"),
    [
        ({"smearing_K": 300.0}, "0.26"),  # CP2K
        ({"smearing_K": 0.0}, None),
        ({"occupations": "fixed", "smearing": "mv", "smearing_eV": 0.1}, None),  # Quantum ESPRESSO
        ({"occupations": "smearing", "smearing": "gaussian", "smearing_eV": 0.1}, "0.35"),
        ({"occupations": "smearing", "smearing": "fd", "smearing_eV": 0.03}, "0.30"),
        ({"smearing": 0, "smearing_eV": 0.05}, "0.18"),  # VASP
        ({"smearing": -1, "smearing_eV": 0.05}, "0.50"),
    ],
)
def test_every_engine_with_smearing_is_looked_at(settings, limit):
    told = list(small_gap_warnings([column([0.1, 2.0])], [described(**settings)]))
    assert [limit] * len(told) == [words.split(" at most ")[1].split()[0] for words in told]
    assert len(told) == (limit is not None)


def test_the_settings_of_the_engines_are_those_that_are_looked_at():
    """Renaming an option must not silence the warning."""
    from dataclasses import fields

    from phonograph.labels.engines.cp2k import Cp2kLabeller
    from phonograph.labels.engines.espresso import EspressoLabeller
    from phonograph.labels.engines.vasp import VaspLabeller

    names = {cls: {item.name for item in fields(cls)} for cls in (Cp2kLabeller, EspressoLabeller, VaspLabeller)}
    assert "smearing_K" in names[Cp2kLabeller]
    assert {"occupations", "smearing", "smearing_eV"} <= names[EspressoLabeller]
    assert {"smearing", "smearing_eV"} <= names[VaspLabeller]
    assert "electronic_temperature_K" in {item.name for item in fields(XtbLabeller)}


def test_a_metal_is_warned_of(tmp_path):
    from ase.build import bulk
    from label_toys import configurations_of

    silver = configurations_of([displaced(bulk("Ag", cubic=True) * (2, 1, 1), 0.08, 1)])
    labels = label([silver], [XtbLabeller()], tmp_path / "s.sqlite", workers=1)
    assert 0.0 < labels.column("band_gap_eV").values[0] < 0.26
    assert any("10 kT of the electronic temperature" in words for words in labels.warnings)
