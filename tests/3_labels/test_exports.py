"""Exports hold what the store holds, to the last bit, and are read again before they are announced."""

from __future__ import annotations

import csv
import hashlib
import json
import subprocess
import sys

import numpy as np
import pytest
from ase.io import read as ase_read
from store_toys import ENERGY, FORCES, GAP, PLAIN, POLARISABILITY, attempt, calculation_of, six, story, success

from phonograph.errors import ConfigurationError, DataError, InputFileError, MissingEngineError
from phonograph.files.extxyz import extxyz_atoms
from phonograph.labels import export_tables
from phonograph.labels.exports import export_store
from phonograph.labels.failures import failure
from phonograph.labels.store import open_store
from phonograph.labels.task import structure_bytes
from phonograph.types import Configurations
from phonograph.units import EV_PER_A3_IN_GPA

SIX = [structure_bytes(crystal) for crystal in six().crystals()]
SUFFIXES = (".extxyz", ".csv", ".parquet", ".db")


@pytest.fixture
def store(tmp_path):
    with open_store(tmp_path / "s.sqlite", "write") as opened:
        opened.register(six())
        opened.record(story(six()))
        yield opened


def positions(place: int) -> np.ndarray:
    return np.frombuffer(SIX[place].positions, "<f8").reshape(-1, 3)


def test_extxyz_is_read_by_ase_to_the_last_bit(store, tmp_path):
    export = export_store(store, tmp_path / "out.extxyz", engines=["DFT"])
    assert (export.labels, export.holes) == (4, 1)
    assert str(export) == f"{tmp_path / 'out.extxyz'}: 4 labels; 1 failed labels are left out"
    frames = ase_read(tmp_path / "out.extxyz", index=":")
    assert len(frames) == 4
    for atoms, seed in zip(frames, (0, 1, 2, 5), strict=True):
        right = success(seed, FORCES)
        assert atoms.calc is None, "REF_ names are no calculator"
        assert atoms.pbc.all()
        np.testing.assert_array_equal(atoms.positions, positions(seed))
        np.testing.assert_array_equal(atoms.cell[:], np.frombuffer(SIX[seed].cell, "<f8").reshape(3, 3))
        np.testing.assert_array_equal(atoms.arrays["REF_forces"], right.arrays["forces_eV_per_A"])
        np.testing.assert_array_equal(atoms.arrays["REF_charges"], right.arrays["charges_e"])
        stress = right.arrays["stress_GPa"] / EV_PER_A3_IN_GPA
        np.testing.assert_array_equal(atoms.info["REF_stress"].reshape(3, 3), stress)
        assert atoms.info["REF_energy"] == right.values[ENERGY] * 4
        assert (atoms.info[ENERGY], atoms.info[GAP]) == (right.values[ENERGY], right.values[GAP])
        assert atoms.info["structure"] == f"sha256:{SIX[seed].key.hex()}"
        assert (atoms.info["engine"], atoms.info["sample_id"]) == ("toy 1.0 DFT", f"toy-{seed:05d}")
        assert atoms.info["core_seconds"] == 4 * (0.5 + seed)
    assert frames[2].info["message"] == "attempt 2, mixing 0.1"
    assert len(extxyz_atoms((tmp_path / "out.extxyz").read_text(encoding="utf-8"), "out")) == 4
    (warning,) = export.warnings
    assert "extxyz cannot hold eigenvalues_eV" in warning


def test_csv_keeps_holes_as_named_rows(store, tmp_path):
    export = export_store(store, tmp_path / "out.csv")
    assert (export.labels, export.holes) == (10, 1)
    assert str(export).endswith("10 labels; 1 failed labels are kept as rows without values")
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 11
    final = {(a.structure.key.hex(), a.calculation.engine): a.result for a in story(six()) if a.final}
    for row in rows:
        right = final[row["structure"], row["engine"]]
        got = {name: float(row[name]) for name in (ENERGY, GAP, POLARISABILITY) if row[name]}
        assert got == right.values
        assert (row["status"], row["message"]) == (right.failure or "ok", right.message)
        assert (row["formula"], row["atoms"], row["sets"]) == ("Cu4", "4", "toy")
    hole = next(row for row in rows if row["status"] == "crashed")
    assert (hole["sample_ids"], hole["message"], hole[ENERGY]) == ("toy-00003", "exit code 139", "")
    assert "csv cannot hold forces_eV_per_A" in export.warnings[0]
    assert "eigenvalues_eV; export to .parquet or .db to have them" in export.warnings[0]
    export = export_store(store, tmp_path / "forces.csv", properties=["forces_eV_per_A"])
    assert export.warnings == ("csv cannot hold forces_eV_per_A; export to .extxyz, .parquet or .db to have them.",)


def test_parquet_holds_everything_with_units(store, tmp_path):
    import pyarrow.parquet as parquet

    export = export_store(store, tmp_path / "out.parquet")
    assert (export.labels, export.holes, export.warnings) == (10, 1, ())
    table = parquet.read_table(tmp_path / "out.parquet")
    assert table.num_rows == 11
    units = {field.name: field.metadata[b"unit"].decode() for field in table.schema if field.metadata}
    assert units[GAP] == "eV"
    assert units[POLARISABILITY] == "Å³"
    assert (units["forces_eV_per_A"], units["core_seconds"]) == ("eV/Å", "s")
    told = json.loads(table.schema.metadata[b"phonograph"])
    assert [c["engine"] for c in told["calculations"]] == ["toy 1.0 DFT", "toy 2.0 cheap"]
    row = next(row for row in table.to_pylist() if row["sample_ids"] == ["toy-00002"] and row[GAP] is not None)
    right = success(2, FORCES)
    assert {name: row[name] for name in (ENERGY, GAP)} == right.values
    bands = np.array(row["eigenvalues_eV"]).reshape(row["eigenvalues_eV_shape"])
    np.testing.assert_array_equal(bands, right.arrays["eigenvalues_eV"])
    np.testing.assert_array_equal(np.reshape(row["positions_A"], (-1, 3)), positions(2))
    hole = next(row for row in table.to_pylist() if row["status"] == "crashed")
    assert (hole[ENERGY], hole["forces_eV_per_A"], hole["numbers"]) == (None, None, [29] * 4)


def test_ase_database_reads_back_through_ase(store, tmp_path):
    from ase.db import connect

    export = export_store(store, tmp_path / "out.db")
    assert (export.labels, export.holes, export.warnings) == (10, 1, ())
    database = connect(tmp_path / "out.db")
    assert database.count() == 10
    row = next(database.select(sample_id="toy-00001", engine="toy 1.0 DFT"))
    right = success(1, FORCES)
    atoms = row.toatoms()
    assert atoms.get_potential_energy() == right.values[ENERGY] * 4
    np.testing.assert_array_equal(atoms.get_forces(), right.arrays["forces_eV_per_A"])
    np.testing.assert_array_equal(atoms.get_charges(), right.arrays["charges_e"])
    stress = right.arrays["stress_GPa"] / EV_PER_A3_IN_GPA
    np.testing.assert_array_equal(row.stress, stress[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]])
    np.testing.assert_array_equal(row.data["eigenvalues_eV"], right.arrays["eigenvalues_eV"])
    np.testing.assert_array_equal(atoms.positions, positions(1))
    assert row.band_gap_eV == right.values[GAP] == 0.0
    assert database.metadata["key_units"][POLARISABILITY] == "Å³"
    assert not (tmp_path / "out.db.lock").exists()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_filters_choose_engines_properties_and_sets(store, tmp_path, suffix):
    out = tmp_path / f"out{suffix}"
    other = Configurations(**{**six().first(2).__dict__, "name": "some"})
    store.register(other)
    assert export_store(store, out, engines=["CHEAP"]).labels == 6
    assert export_store(store, out, properties=[GAP]).labels == 4
    assert export_store(store, out, properties=[ENERGY], sets=["some"]).labels == 4
    assert export_store(store, out, sets=["some"], engines=["cheap"]).labels == 2
    with pytest.raises(ConfigurationError, match=r"no labels of engine 'VASP' .*its engines are: toy 1.0 DFT; toy 2.0"):
        export_store(store, out, engines=["VASP"])
    with pytest.raises(ConfigurationError, match=r"no property 'vbm_eV' .*it has energy_eV_per_atom, band_gap_eV"):
        export_store(store, out, properties=["vbm_eV"])
    with pytest.raises(ConfigurationError, match=r"no set 'none' .*it has toy, some"):
        export_store(store, out, sets=["none"])


def test_a_filter_leaves_out_columns_too(store, tmp_path):
    export_store(store, tmp_path / "out.csv", properties=[GAP, "forces_eV_per_A"])
    header = (tmp_path / "out.csv").read_text(encoding="utf-8").splitlines()[0].split(",")
    assert header[-2:] == ["core_seconds", GAP]
    export_store(store, tmp_path / "out.extxyz", properties=["forces_eV_per_A"])
    atoms = ase_read(tmp_path / "out.extxyz", index=0)
    assert "REF_forces" in atoms.arrays
    assert not {"REF_energy", "REF_stress", GAP} & set(atoms.info)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_damage_is_a_hole_never_a_number(store, tmp_path, suffix):
    store._connection.execute("UPDATE label SET value = 1.0 WHERE structure = 1 AND calculation = 1")
    store._connection.execute("UPDATE structure SET positions = zeroblob(96) WHERE id = 2")
    export = export_store(store, tmp_path / f"out{suffix}")
    assert (export.labels, export.holes) == (7, 4)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_reads_differently_is_not_kept(store, tmp_path, suffix, monkeypatch):
    """A writer that loses a digit, or a file cut short on its way to the disk."""
    from phonograph.labels import exports

    out = tmp_path / f"out{suffix}"
    out.write_text("the old file", encoding="utf-8")
    kind = exports.FORMATS[suffix]
    write, read = exports._WRITERS[kind]

    def cut(path, *rest):
        write(path, *rest)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    def rounded(path, items, names, calculations, digest):
        write(path, items, names, calculations, hashlib.sha256())

    for wrong in (cut, rounded):
        monkeypatch.setitem(exports._WRITERS, kind, (wrong, read))
        with pytest.raises(InputFileError, match="and was not kept"):
            export_store(store, out)
        assert out.read_text(encoding="utf-8") == "the old file"
    assert sorted(p.name for p in tmp_path.iterdir()) == [out.name, "s.sqlite", "s.sqlite.lock"]
    monkeypatch.setitem(exports._WRITERS, kind, (write, read))
    assert export_store(store, out).labels == 10


def test_nothing_to_write_is_told(tmp_path):
    with open_store(tmp_path / "s.sqlite", "write") as store:
        with pytest.raises(DataError, match="nothing to write"):
            export_store(store, tmp_path / "out.extxyz")
        store.record([attempt(SIX[0], FORCES, failure("timeout", "slow"))])
        with pytest.raises(DataError, match="nothing to write"):
            export_store(store, tmp_path / "out.extxyz")
        assert export_store(store, tmp_path / "out.csv").holes == 1
    assert not (tmp_path / "out.extxyz").exists()


def test_unknown_formats_are_one_sentence(store, tmp_path):
    with pytest.raises(ConfigurationError, match=r"must end in one of \.extxyz, \.xyz, .*; got 'out\.hdf5'"):
        export_store(store, tmp_path / "out.hdf5")
    with pytest.raises(ConfigurationError, match="format must be one of extxyz, ase-db, csv, parquet; got 'hdf5'"):
        export_store(store, tmp_path / "out.csv", format="hdf5")
    with pytest.raises(InputFileError, match="not found"):
        export_store(tmp_path / "none.sqlite", tmp_path / "out.csv")
    export_store(tmp_path / "s.sqlite", tmp_path / "out.dat", format="csv")


def test_parquet_without_pyarrow_says_how_to_install_it(store, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingEngineError, match=r"pip install 'phonograph\[parquet\]'"):
        export_store(store, tmp_path / "out.parquet")
    assert not (tmp_path / "out.parquet").exists()


def test_hostile_texts_stay_texts(tmp_path):
    """Engine and message come from others: quotes, formulas, numbers and new lines."""
    odd = calculation_of('=1+1 "T" \\ Å\n300', (ENERGY,))
    with open_store(tmp_path / "s.sqlite", "write") as store:
        store.register(Configurations(**{**six().__dict__, "name": "300"}))
        store.record([attempt(s, odd, success(i, odd, message='@x, "y"\nTrue')) for i, s in enumerate(SIX)])
        store.record([attempt(SIX[0], PLAIN, success(3, PLAIN, message="True"))])
        for suffix in SUFFIXES:
            assert export_store(store, tmp_path / f"out{suffix}").labels == 7
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert rows[0]["engine"].startswith("'=1+1")
    assert rows[0]["message"].startswith("'@x")
    assert len(ase_read(tmp_path / "out.extxyz", index=":")) == 7


def test_one_atom_and_many_pieces(tmp_path):
    from ase.build import bulk
    from label_toys import configurations_of, displaced

    sets = configurations_of([displaced(bulk("Cu"), 0.1, seed) for seed in range(601)])
    structures = [structure_bytes(crystal) for crystal in sets.crystals()]
    with open_store(tmp_path / "s.sqlite", "write") as store:
        store.record([attempt(s, FORCES, success(i, FORCES, atoms=1)) for i, s in enumerate(structures)])
        for suffix in SUFFIXES:
            assert export_store(store, tmp_path / f"out{suffix}").labels == 601
    frames = ase_read(tmp_path / "out.extxyz", index=":")
    np.testing.assert_array_equal(frames[600].arrays["REF_forces"], success(600, FORCES, 1).arrays["forces_eV_per_A"])


def test_a_store_of_the_first_release_can_be_exported(tmp_path):
    from pathlib import Path

    old = Path(__file__).parent / "stores" / "schema-1.sqlite"
    for suffix in SUFFIXES:
        export = export_store(old, tmp_path / f"out{suffix}")
        assert (export.labels, export.holes) == (4, 1)


def test_pyarrow_and_ase_are_loaded_only_when_needed():
    code = "import sys, phonograph.labels.exports; print({'pyarrow', 'ase'} & set(sys.modules))"
    environment = {"PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert "pyarrow" not in done.stdout
    assert export_tables._row


def test_a_run_of_several_in_one_store_is_chosen_by_what_it_holds(store, tmp_path):
    """Names come from the sets that are given, whatever the store calls their structures now."""
    toys = six()
    some = Configurations(
        name="mine",
        sampler="toy",
        offsets=toys.offsets[:3],
        numbers=toys.numbers[: toys.offsets[2]],
        positions_A=toys.positions_A[: toys.offsets[2]],
        displacements_A=toys.displacements_A[: toys.offsets[2]],
        cells_A=toys.cells_A[:2],
        temperature_K=toys.temperature_K[:2],
        amplitude_A=toys.amplitude_A[:2],
        fraction=toys.fraction[:2],
        index=toys.index[:2],
        group=toys.group[:2],
    )
    export_store(store, tmp_path / "out.csv", configurations=[some])
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {(row["sample_ids"], row["sets"]) for row in rows} == {("mine-00000", "mine"), ("mine-00001", "mine")}
    assert {row["structure"] for row in rows} == {s.key.hex() for s in SIX[:2]}
    with pytest.raises(ConfigurationError, match=r"no set 'toy' in .*; it has mine"):
        export_store(store, tmp_path / "out.csv", configurations=[some], sets=["toy"])
