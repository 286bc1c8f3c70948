"""labels.csv: bit-exact round trip, same bytes for the same labels, one sentence for every fault."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phonograph.errors import DataError, InputFileError
from phonograph.files.labels import load_labels, save_labels
from phonograph.types import LabelColumn, Labels, Origin


def labels_of(energies, gaps=None, **changes):
    count = len(energies)
    gaps = [0.0] * count if gaps is None else gaps
    status = ["failed: x" if np.isnan([e, g]).any() else "ok" for e, g in zip(energies, gaps, strict=True)]
    return Labels(
        **{
            "sample_ids": tuple(f"phonon-{place:05d}" for place in range(count)),
            "set_names": ("phonon",) * count,
            "columns": (
                LabelColumn(name="energy_eV_per_atom", unit="eV/atom", values=np.array(energies), engine='e 1; Γ, "q"'),
                LabelColumn(name="band_gap_eV", unit="eV", values=np.array(gaps), engine="tblite 0.8"),
            ),
            "status": tuple(status),
            "warnings": ("3 holes.", "Γ only."),
            "origin": Origin(room="labels", settings={"labellers": [{"a": 1.5}]}, seed=None, inputs={"phonon": "ab"}),
            **changes,
        }
    )


def test_round_trip(tmp_path):
    path = tmp_path / "labels.csv"
    labels = labels_of([0.1, np.nan, -1e-300, 1 / 3], [np.nan, 2.0, 0.0, 5e-324])
    save_labels(labels, path)
    found = load_labels(path)
    assert (found.sample_ids, found.set_names, found.status) == (labels.sample_ids, labels.set_names, labels.status)
    assert found.warnings == labels.warnings
    assert dict(found.origin.settings) == dict(labels.origin.settings)
    for one, other in zip(found.columns, labels.columns, strict=True):
        assert (one.name, one.unit, one.engine) == (other.name, other.unit, other.engine)
        np.testing.assert_array_equal(one.values, other.values)


@given(st.lists(st.floats(allow_infinity=False), min_size=1, max_size=20))
def test_numbers_come_back_to_the_last_bit(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("labels") / "labels.csv"
    save_labels(labels_of(values), path)
    found = load_labels(path).column("energy_eV_per_atom").values
    np.testing.assert_array_equal(np.signbit(found[~np.isnan(found)]), np.signbit(np.array(values)[~np.isnan(values)]))
    np.testing.assert_array_equal(found, values)


def test_columns_as_promised_and_same_bytes_twice(tmp_path):
    for name in ("a", "b"):
        save_labels(labels_of([0.1, np.nan]), tmp_path / name / "labels.csv")
    assert (tmp_path / "a/labels.csv").read_bytes() == (tmp_path / "b/labels.csv").read_bytes()
    assert (tmp_path / "a/labels.json").read_bytes() == (tmp_path / "b/labels.json").read_bytes()
    with (tmp_path / "a/labels.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.reader(stream))
    engines = ["energy_eV_per_atom_engine", "band_gap_eV_engine"]
    assert rows[0] == ["sample_id", "set", "energy_eV_per_atom", "band_gap_eV", *engines, "status"]
    assert rows[1] == ["phonon-00000", "phonon", "0.1", "0.0", 'e 1; Γ, "q"', "tblite 0.8", "ok"]
    assert rows[2][2] == ""
    assert rows[2][-1] == "failed: x"


def test_a_table_without_its_companion_is_read_and_says_so(tmp_path):
    path = tmp_path / "labels.csv"
    save_labels(labels_of([0.5]), path)
    path.with_suffix(".json").unlink()
    found = load_labels(path)
    assert [column.unit for column in found.columns] == ["eV/atom", "eV"]
    assert "labels.json is missing" in found.warnings[0]


def test_an_edited_table_needs_consent(tmp_path):
    path = tmp_path / "labels.csv"
    save_labels(labels_of([0.5]), path)
    path.write_text(path.read_text(encoding="utf-8").replace("0.5", "0.75"), encoding="utf-8")
    with pytest.raises(InputFileError, match=r"changed after labels\.json was written"):
        load_labels(path)
    path.with_suffix(".json").unlink()
    assert load_labels(path).columns[0].values[0] == 0.75


@pytest.mark.parametrize("cell", ["=1+1", "@SUM(A1)", "+cmd", "\tx"])
def test_no_cell_becomes_a_formula(tmp_path, cell):
    with pytest.raises(DataError, match="formula"):
        save_labels(labels_of([0.5], sample_ids=(cell,)), tmp_path / "labels.csv")
    assert list(tmp_path.iterdir()) == []


def test_infinite_labels_are_refused(tmp_path):
    with pytest.raises(DataError, match="infinite"):
        save_labels(labels_of([np.inf]), tmp_path / "labels.csv")


HEADER = "sample_id,set,band_gap_eV,band_gap_eV_engine,status\n"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "holds no samples"),
        (HEADER, "holds no samples"),
        ("sample_id,set,status\na,s,ok\n", "must have the columns"),
        (HEADER.replace("_engine", "") + "a,s,1,e,ok\n", "must have the columns"),
        (HEADER + "a,s,1,e\n", "row 2: expected 5 cells; got 4"),
        (HEADER + "a,s,1,e,ok\nb,s,one,e,ok\n", "row 3: band_gap_eV must be a number or empty; got 'one'"),
        (HEADER + "a,s,nan,e,ok\n", "must be a number or empty; got 'nan'"),
        (HEADER + "a,s,1e999,e,ok\n", "must be a number or empty"),
        (HEADER + "a,s,1_0,e,ok\n", "must be a number or empty"),
        (HEADER + "a,s,1,e,\n", "status must say"),
        (HEADER + "a,s,1,e,failed: it\n", "contradicts a row without an empty cell"),
        (HEADER + "a,s,1,e,ok\na,s,1,e,ok\n", "sample ids must be unique"),
        (HEADER + "a,s,1,e,ok\nb,s,1,f,ok\n", "must come from one engine; got e, f"),
        (HEADER + 'a,s,1,"e,ok\n', "is not CSV"),
        (HEADER.encode() + b"a\xff,s,1,e,ok\n", "is not UTF-8"),
    ],
)
def test_faulty_tables_are_one_sentence(tmp_path, content, words):
    path = tmp_path / "labels.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputFileError, match=words) as caught:
        load_labels(path)
    assert "\n" not in str(caught.value)
    assert "labels.csv" in str(caught.value)


def test_missing_table(tmp_path):
    with pytest.raises(InputFileError, match="not found"):
        load_labels(tmp_path / "labels.csv")


@pytest.mark.parametrize(
    "change",
    [
        {"schema": "other"},
        {"units": {"band_gap_eV": 3}},
        {"units": []},
        {"warnings": "no list"},
        {"origin": 3},
        {"sha256": None},
    ],
)
def test_faulty_companions_are_one_sentence(tmp_path, change):
    path = tmp_path / "labels.csv"
    save_labels(labels_of([0.5]), path)
    beside = path.with_suffix(".json")
    beside.write_text(json.dumps({**json.loads(beside.read_text(encoding="utf-8")), **change}), encoding="utf-8")
    with pytest.raises(InputFileError, match=r"labels\.json"):
        load_labels(path)
    beside.write_text("[" * 100_000, encoding="utf-8")
    with pytest.raises(InputFileError, match=r"labels\.json"):
        load_labels(path)
