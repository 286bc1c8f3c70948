"""Computed structure entries: written by pymatgen, read without it, and by pymatgen as a second route."""

from __future__ import annotations

import bz2
import gzip
import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from test_hostile_files import MUTANTS, attack

from phonograph.errors import ConfigurationError, InputFileError
from phonograph.files.user_data import read_labelled

pytest.importorskip("pymatgen", reason="pymatgen writes these files; pip install pymatgen")

from pymatgen.core import Lattice, Structure
from pymatgen.entries.computed_entries import (
    CompositionEnergyAdjustment,
    ComputedStructureEntry,
    ConstantEnergyAdjustment,
)

ENERGY = "energy_eV_per_atom"


def salt(length=5.6, shift=0.0):
    corners = [[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]
    places = corners + [[x + 0.5, y, z] for x, y, z in corners]
    structure = Structure(Lattice.cubic(length), ["Na"] * 4 + ["Cl"] * 4, places)
    structure.translate_sites([0], [shift, 0, 0])
    return structure


def entry(structure, energy=-27.0, number=0, **changes):
    settings = {
        "parameters": {"run_type": "GGA"},
        "data": {"material_id": f"mp-{number}", "band_gap": 5.0 + number, "e_form": -2.0, "nsites": len(structure)},
        "entry_id": f"mp-{number}-GGA",
        **changes,
    }
    return ComputedStructureEntry(structure, energy, **settings)


def saved(path, entries, bare=False):
    plain = [one.as_dict() if isinstance(one, ComputedStructureEntry) else one for one in entries]
    text = json.dumps(plain if bare else {"entries": plain}, default=str).encode()
    pack = {".gz": gzip.compress, ".bz2": bz2.compress}.get(path.suffix, bytes)
    path.write_bytes(pack(text))
    return path


@pytest.mark.parametrize("name", ["a.json", "a.json.gz", "a.json.bz2"])
@pytest.mark.parametrize("bare", [True, False])
def test_structures_energies_and_data(tmp_path, name, bare):
    entries = [entry(salt(5.6 + 0.01 * i, 0.01), -27.0 - i, i) for i in range(3)]
    path = saved(tmp_path / name, entries, bare)
    configurations, labels = read_labelled(path, name="salt")
    for position, one in enumerate(entries):
        crystal = configurations.crystal(position)
        np.testing.assert_allclose(crystal.cell_A, one.structure.lattice.matrix, atol=1e-12)
        np.testing.assert_allclose(crystal.positions_A, one.structure.cart_coords, atol=1e-9)
        assert crystal.numbers.tolist() == [site.specie.Z for site in one.structure]
        assert labels.column(ENERGY).values[position] == pytest.approx(one.uncorrected_energy_per_atom, rel=1e-14)
    assert labels.column("band_gap_eV").values.tolist() == [5.0, 6.0, 7.0]
    assert labels.column("e_form_eV_per_atom").values.tolist() == [-2.0] * 3
    assert labels.column(ENERGY).engine == f"file {name} (GGA)"
    assert any("entries nsites" in sentence for sentence in labels.warnings), "whole numbers without a unit are named"
    assert set(configurations.origin.inputs) == {name}


def test_corrections_are_a_named_choice(tmp_path):
    adjustments = [
        ConstantEnergyAdjustment(-0.5, name="a"),
        CompositionEnergyAdjustment(-0.1, 4, name="b"),
    ]
    entries = [entry(salt(), energy_adjustments=adjustments), entry(salt(5.7), number=1)]
    path = saved(tmp_path / "a.json", entries)
    configurations, labels = read_labelled(path)
    assert labels.column(ENERGY).values[0] == pytest.approx(entries[0].uncorrected_energy_per_atom)
    assert any("corrections were not added to the energies of 1 of 2" in one for one in configurations.warnings)
    configurations, labels = read_labelled(path, correction="corrected")
    np.testing.assert_allclose(labels.column(ENERGY).values, [one.energy_per_atom for one in entries])
    assert any("corrections were added" in one for one in configurations.warnings)
    with pytest.raises(ConfigurationError, match="correction must be one of uncorrected, corrected; got 'mp2020'"):
        read_labelled(path, correction="mp2020")
    plain = entries[0].as_dict()
    del plain["correction"]
    with pytest.raises(InputFileError, match="gives no correction; read the energies with correction = 'uncorrected'"):
        read_labelled(saved(path, [plain]), correction="corrected")


def test_partial_occupancy_is_left_out_by_name_and_oxidation_states_are_not(tmp_path):
    mixed = Structure(Lattice.cubic(4.2), [{"Na": 0.5, "K": 0.5}, "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    vacant = Structure(Lattice.cubic(4.2), [{"Na": 0.9}, "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    charged = Structure(Lattice.cubic(4.2), ["Na+", "Cl-"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    entries = [entry(one, number=i) for i, one in enumerate((mixed, charged, vacant))]
    configurations, labels = read_labelled(saved(tmp_path / "a.json", entries))
    assert len(configurations) == len(labels.sample_ids) == 1
    assert configurations.numbers.tolist() == [11, 17]
    assert any("2 entries" in one and "mp-0-GGA, mp-2-GGA" in one for one in configurations.warnings)
    with pytest.raises(InputFileError, match=r"no entry with a fully occupied structure .1 with partial occupancy"):
        read_labelled(saved(tmp_path / "b.json", entries[:1]))


def test_two_species_on_a_site_are_never_one(tmp_path):
    plain = entry(salt()).as_dict()
    plain["structure"]["sites"][0]["species"] = [{"element": "Na", "occu": 1}, {"element": "K", "occu": 0}]
    with pytest.raises(InputFileError, match=r"no entry with a fully occupied structure"):
        read_labelled(saved(tmp_path / "a.json", [plain]))


def test_magnetic_orders_of_one_structure_share_a_group(tmp_path):
    orders = []
    for sign in (1, -1):
        structure = Structure(Lattice.cubic(4.2), ["Fe", "Fe"], [[0, 0, 0], [0.5, 0.5, 0.5]])
        structure.add_site_property("magmom", [2.0, 2.0 * sign])
        orders.append(structure)
    entries = [entry(one, -16.0 - i, i) for i, one in enumerate(orders)]
    configurations, labels = read_labelled(saved(tmp_path / "a.json", entries))
    assert configurations.group == ("set-00000", "set-00000")
    assert any("magnetic moments of the sites of 2 entries" in one for one in configurations.warnings)
    assert labels.column(ENERGY).values.tolist() == [-8.0, -8.5]


def test_groups_join_what_is_related_by_structure_or_by_material(tmp_path):
    """0 and 2 are of one material, 2 and 3 one structure: no split may part them."""
    entries = [
        entry(salt(5.6), number=0),
        entry(salt(5.7), number=1),
        entry(salt(5.8), number=0),
        entry(salt(5.8), number=3),
    ]
    configurations, _ = read_labelled(saved(tmp_path / "a.json", entries))
    assert configurations.group == ("set-00000", "set-00001", "set-00000", "set-00000")


def test_functionals_are_told_and_mixtures_warned_of(tmp_path):
    entries = [
        entry(salt(5.6 + i / 10), number=i, parameters={"run_type": t}) for i, t in enumerate(["GGA", "GGA+U", "GGA"])
    ]
    configurations, labels = read_labelled(saved(tmp_path / "a.json", entries))
    assert labels.columns[0].engine == "file a.json (GGA, GGA+U)"
    assert any("GGA (2), GGA+U (1); their energies cannot be compared" in one for one in configurations.warnings)


def test_fields_by_name_and_their_units(tmp_path):
    entries = [
        entry(salt(), data={"gap_hse": 1.5, "band_gap": None, "total_mag": 2.0, "stress": [[1, 2, 3]], "note": "x"})
    ]
    path = saved(tmp_path / "a.json", entries)
    configurations, labels = read_labelled(path)
    assert {column.name for column in labels.columns} == {ENERGY, "total_mag_muB"}
    assert any("gap_hse" in sentence for sentence in labels.warnings)
    assert any("stress" in sentence and "note" in sentence for sentence in configurations.warnings)
    _, labels = read_labelled(path, units={"gap_hse": "eV"}, property="gap_hse")
    assert [(column.name, column.values.tolist()) for column in labels.columns] == [("gap_hse_eV", [1.5])]
    with pytest.raises(InputFileError, match="has no entry 'gap_pbe'"):
        read_labelled(path, units={"gap_pbe": "eV"})


def test_other_values_beside_the_entries_and_entries_without_names(tmp_path):
    plain = entry(salt()).as_dict()
    del plain["entry_id"]
    text = json.dumps({"about": {"x": [1, {"y": 2}]}, "entries": [plain], "more": None}, default=str)
    (tmp_path / "a.json").write_text(text)
    configurations, labels = read_labelled(tmp_path / "a.json")
    assert len(configurations) == len(labels.sample_ids) == 1


def broken(change):
    plain = json.loads(json.dumps(entry(salt()).as_dict(), default=str))
    change(plain)
    return plain


BROKEN = {
    "no structure": lambda e: e.pop("structure"),
    "structure as text": lambda e: e.update(structure="POSCAR"),
    "energy as text": lambda e: e.update(energy="low"),
    "energy infinite": lambda e: e.update(energy=float("inf")),
    "energy huge": lambda e: e.update(energy=10**400),
    "correction as text": lambda e: e.update(correction="x"),
    "data as list": lambda e: e.update(data=[1]),
    "no sites": lambda e: e["structure"].update(sites=[]),
    "sites as number": lambda e: e["structure"].update(sites=10**9),
    "site without place": lambda e: e["structure"]["sites"][0].pop("abc"),
    "place of text": lambda e: e["structure"]["sites"][0].update(abc=["0", "0", "0"]),
    "place not finite": lambda e: e["structure"]["sites"][0].update(abc=[float("nan"), 0, 0]),
    "two places": lambda e: e["structure"]["sites"][0].update(xyz=[1.0, 0.0, 0.0]),
    "atoms on one spot": lambda e: e["structure"]["sites"].append(e["structure"]["sites"][0]),
    "unknown element": lambda e: e["structure"]["sites"][0]["species"][0].update(element="Xx"),
    "no species": lambda e: e["structure"]["sites"][0].update(species=[]),
    "flat cell": lambda e: e["structure"]["lattice"].update(matrix=[[1, 0, 0], [1, 0, 0], [0, 0, 1]]),
    "cell of two rows": lambda e: e["structure"]["lattice"].update(matrix=[[1, 0, 0], [0, 1, 0]]),
    "slab": lambda e: e["structure"]["lattice"].update(pbc=[True, True, False]),
}


@pytest.mark.parametrize("change", BROKEN.values(), ids=BROKEN)
def test_broken_entries_get_one_sentence_with_their_name(tmp_path, change):
    path = saved(tmp_path / "a.json", [entry(salt(5.5), number=7), broken(change)])
    with pytest.raises(InputFileError) as caught:
        read_labelled(path)
    assert "\n" not in str(caught.value)
    assert "mp-0-GGA" in str(caught.value) or "structure 1" in str(caught.value) or "frame 1" in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        *("", "[", "[1]", "[[]]", "[{}]", "nonsense", "[" * 100_000, "[{}] x", '"x"', "1"),
        *('{"entries": [', '{"entries": [{}, ]}', '{"entries": {}}', '{"a": 1 2}'),
    ],
)
def test_what_is_no_list_of_entries(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(InputFileError):
        read_labelled(tmp_path / "a.json")


def test_no_class_that_a_file_names_is_built(tmp_path):
    canary = tmp_path / "canary"
    call = {"@module": "os", "@callable": "mkdir", "@bound": None}
    plain = entry(salt()).as_dict() | {"@module": "os", "@class": "mkdir", "parameters": call}
    plain["data"]["band_gap"] = {"@module": "os", "@callable": "system"}
    configurations, labels = read_labelled(saved(tmp_path / "a.json", [plain]))
    assert len(configurations) == 1
    assert "band_gap_eV" not in {column.name for column in labels.columns}
    assert not canary.exists()


def test_a_small_file_cannot_fill_the_memory(tmp_path, monkeypatch):
    import phonograph.files.computed_entries_json as module

    monkeypatch.setattr(module, "MAX_SET_BYTES", 1_000_000)
    (tmp_path / "a.json.bz2").write_bytes(bz2.compress(b"[" + b" " * 50_000_000 + b"]"))
    assert (tmp_path / "a.json.bz2").stat().st_size < 1000
    with pytest.raises(InputFileError, match="unpacks to more than"):
        read_labelled(tmp_path / "a.json.bz2")


def test_mutants_of_entries(tmp_path):
    path = saved(tmp_path / "a.json", [entry(salt(5.6 + i / 10), number=i) for i in range(2)])
    attack(tmp_path, "b.json", path.read_bytes(), read_labelled, 2 * MUTANTS, 13)
