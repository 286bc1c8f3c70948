"""Datasets on disk: what is saved is loaded, and nothing that was changed is."""

from __future__ import annotations

import dataclasses
import hashlib
import subprocess

import numpy as np
import pytest

from phonograph.errors import DataError, InputFileError
from phonograph.files.datasets import load_dataset_folder, save_dataset
from phonograph.testing import cubic_antiperovskite, displaced, fcc
from phonograph.types import Dataset, LabelColumn, Labels, Origin

FILES = ("CARD.md", "rows.csv", "structures.npz", "arrays.npz", "dataset.json")


def made() -> Dataset:
    sets = (
        displaced(cubic_antiperovskite(), 5, name="thermal"),
        displaced(fcc("Cu", 3.6), 3, rms_A=0.02, name="copper"),
    )
    ids = tuple(sample for s in sets for sample in s.ids)
    values = np.array([0.1, 1 / 3, np.nan, 4.0, 5e-300, 6.0, -7.0, 8.0])
    labels = Labels(
        sample_ids=ids,
        set_names=("thermal",) * 5 + ("copper",) * 3,
        columns=(LabelColumn(name="band_gap_eV", unit="eV", values=values, engine="toy 1; Γ"),),
        status=tuple("ok" if np.isfinite(v) else 'failed: band_gap_eV: crashed: bang, "quoted"' for v in values),
        warnings=("one hole.",),
        origin=Origin(room="labels", settings={"a": 1}),
    )
    forces = np.linspace(-1, 1, 28 * 3).reshape(28, 3)
    return Dataset(
        name="toy",
        sets=sets,
        labels=labels,
        arrays={"forces_eV_per_A": forces, "stress_GPa": np.zeros((8, 3, 3))},
        source=tuple(f"law:{i}" for i in range(8)),
        card="# Toy\n",
    )


@pytest.fixture
def folder(tmp_path):
    save_dataset(made(), tmp_path / "toy")
    return tmp_path / "toy"


def test_everything_comes_back(folder):
    before, after = made(), load_dataset_folder(folder)
    assert (after.name, after.card, after.source) == (before.name, before.card, before.source)
    assert after.labels.status == before.labels.status
    assert after.labels.warnings == before.labels.warnings
    for name in ("name", "unit", "engine"):
        assert getattr(after.labels.columns[0], name) == getattr(before.labels.columns[0], name)
    np.testing.assert_array_equal(after.labels.columns[0].values, before.labels.columns[0].values)
    for one, other in zip(before.sets, after.sets, strict=True):
        assert (one.name, one.sampler, one.group, one.ids) == (other.name, other.sampler, other.group, other.ids)
        for name in (
            "offsets",
            "numbers",
            "positions_A",
            "cells_A",
            "temperature_K",
            "amplitude_A",
            "fraction",
            "index",
        ):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        np.testing.assert_allclose(one.displacements_A, other.displacements_A, atol=1e-8)
    np.testing.assert_allclose(after.arrays["forces_eV_per_A"], before.arrays["forces_eV_per_A"], rtol=1e-7)


def test_displacements_that_are_not_known_stay_unknown(tmp_path):
    data = made()
    blind = dataclasses.replace(data.sets[1], displacements_A=np.full_like(data.sets[1].displacements_A, np.nan))
    save_dataset(dataclasses.replace(data, sets=(data.sets[0], blind)), tmp_path)
    after = load_dataset_folder(tmp_path)
    assert np.isnan(after.set("copper").displacements_A).all()
    assert np.isfinite(after.set("thermal").displacements_A).all()


def test_the_same_dataset_is_the_same_bytes(folder, tmp_path):
    save_dataset(made(), tmp_path / "again")
    assert (folder / "SHA256SUMS").read_text() == (tmp_path / "again" / "SHA256SUMS").read_text()


def test_checksums_are_those_of_sha256sum(folder):
    done = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", FILES)
def test_one_flipped_bit_is_noticed(folder, name):
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(bytes(content))
    with pytest.raises(InputFileError, match=r"does not match its checksum"):
        load_dataset_folder(folder)


@pytest.mark.parametrize("name", [*FILES, "SHA256SUMS"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(InputFileError, match=name.replace(".", r"\.")):
        load_dataset_folder(folder)


def resigned(folder, name, old, new):
    """Change a file and sign it again, as someone would who wants to pass for us."""
    text = (folder / name).read_text()
    assert old in text
    (folder / name).write_text(text.replace(old, new, 1))
    sums = (folder / "SHA256SUMS").read_text().splitlines()
    digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    (folder / "SHA256SUMS").write_text(
        "".join(f"{digest if line.endswith(name) else line.split()[0]}  {line.split()[1]}\n" for line in sums)
    )


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("rows.csv", "thermal-00001", "thermal-00009"),
        ("rows.csv", "0.1", "zero"),
        ("rows.csv", "band_gap_eV", "gap_eV"),
        ("dataset.json", '"count": 5', '"count": 4'),
        ("dataset.json", '"count": 5', '"count": "many"'),
        ("dataset.json", "phonograph-dataset-1", "phonograph-dataset-9"),
    ],
)
def test_files_that_do_not_fit_together_are_refused_in_one_sentence(folder, name, old, new):
    resigned(folder, name, old, new)
    with pytest.raises(InputFileError) as caught:
        load_dataset_folder(folder)
    assert "\n" not in str(caught.value)


def test_sums_that_point_elsewhere_are_refused(folder):
    (folder / "SHA256SUMS").write_text(f"{'0' * 64}  ../../etc/passwd\n")
    with pytest.raises(InputFileError, match="not found"):
        load_dataset_folder(folder)


@pytest.mark.parametrize("name", FILES)
def test_a_file_without_a_checksum_is_refused(folder, name):
    sums = (folder / "SHA256SUMS").read_text().splitlines(keepends=True)
    (folder / "SHA256SUMS").write_text("".join(line for line in sums if not line.endswith(f"{name}\n")))
    with pytest.raises(InputFileError, match=f"SHA256SUMS does not list {name}"):
        load_dataset_folder(folder)


def test_a_set_or_an_array_that_does_not_fit_is_refused():
    data = made()
    with pytest.raises(DataError, match="it has thermal, copper"):
        data.set("themal")
    with pytest.raises(DataError, match="fits neither"):
        dataclasses.replace(data, arrays={"charges_e": np.zeros(7)})
    with pytest.raises(DataError, match="one label row per configuration"):
        dataclasses.replace(data, sets=data.sets[:1])
