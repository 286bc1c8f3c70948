"""Sets on disk: bit for bit, readable by ASE, and refused where they are not what they were."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from phonograph.errors import InputFileError
from phonograph.files.configurations import (
    load_certificate,
    load_configurations,
    save_certificate,
    save_configurations,
)
from phonograph.sampling import PaperEq2Sampler, Substitution, ThermalSampler, certify, failed_checks, sample
from phonograph.streams import derive_seed
from phonograph.types import Configurations

ARRAYS = (
    "offsets",
    "numbers",
    "positions_A",
    "displacements_A",
    "cells_A",
    "temperature_K",
    "amplitude_A",
    "fraction",
    "index",
)


@pytest.fixture(scope="module")
def mixed(silver_salt, make) -> Configurations:
    composition = Substitution(replace="Br", by="I", fractions=(0.3,), end_member=make.antiperovskite(53, 5.0)[0])
    sampler = ThermalSampler(antithetic=True)
    return sample(silver_salt, sampler, 5, derive_seed(1, "mix"), name="mix-300K", composition=composition)


def assert_equal(found: Configurations, expected: Configurations) -> None:
    for name in ARRAYS:
        assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)
    for name in ("name", "sampler", "group", "warnings", "ids"):
        assert getattr(found, name) == getattr(expected, name)
    assert found.origin.seed == expected.origin.seed
    assert dict(found.origin.inputs) == dict(expected.origin.inputs)
    assert json.loads(json.dumps(dict(expected.origin.settings))) == dict(found.origin.settings)


def test_round_trip_is_bit_for_bit(mixed, tmp_path):
    path = tmp_path / "2_sampling" / "mix.extxyz"
    save_configurations(mixed, path)
    assert_equal(load_configurations(path), mixed)
    first = path.read_bytes()
    save_configurations(mixed, path)
    assert path.read_bytes() == first


def test_random_sets_and_extreme_numbers(silver_salt, tmp_path):
    made = sample(silver_salt.supercell, PaperEq2Sampler(), 3, 1, name="random")
    odd = np.array(made.displacements_A)
    odd[0] = [1e-300, -0.0, 5e-324]
    made = replace(made, displacements_A=odd, group=('a "quoted" \\ name', "line\nbreak", "é Ω"))
    save_configurations(made, tmp_path / "random.extxyz")
    found = load_configurations(tmp_path / "random.extxyz")
    assert_equal(found, made)
    assert found.displacements_A.tobytes() == made.displacements_A.tobytes()


def test_loaded_sets_keep_their_certificate(silver_salt, mixed, tmp_path):
    save_configurations(mixed, tmp_path / "mix.extxyz")
    found = certify(load_configurations(tmp_path / "mix.extxyz"), silver_salt)
    assert found.checks == certify(mixed, silver_salt).checks
    assert len(found.checks) > 8


def test_unknown_displacements(silver_salt, tmp_path):
    made = sample(silver_salt, ThermalSampler(), 2, 1, name="foreign")
    made = replace(made, displacements_A=np.full_like(made.displacements_A, np.nan), sampler="file")
    save_configurations(made, tmp_path / "foreign.extxyz")
    assert "displacement" not in (tmp_path / "foreign.extxyz").read_text()
    assert_equal(load_configurations(tmp_path / "foreign.extxyz"), made)


def test_ase_reads_every_field(mixed, silver_salt, tmp_path):
    from ase.io import read

    save_configurations(mixed, tmp_path / "mix.extxyz")
    frames = read(tmp_path / "mix.extxyz", index=":", format="extxyz")
    assert len(frames) == 5
    for position, atoms in enumerate(frames):
        crystal = mixed.crystal(position)
        assert_array_equal(atoms.numbers, crystal.numbers)
        assert_array_equal(atoms.positions, crystal.positions_A)
        assert_array_equal(atoms.cell[:], crystal.cell_A)
        assert_array_equal(atoms.arrays["displacement"], mixed.displacements_A[40 * position : 40 * position + 40])
        assert atoms.pbc.all()
        assert atoms.info["set"] == "mix-300K"
        assert atoms.info["sampler"] == "thermal"
        assert atoms.info["temperature_K"] == 300.0
        assert atoms.info["fraction"] == 0.25
        assert atoms.info["index"] == position
        assert atoms.info["group"] == mixed.group[position]
        assert atoms.info["sample_id"] == f"mix-300K-{position:05d}"
        assert int(atoms.info["seed"], 16) == mixed.origin.seed
        assert "amplitude_A" not in atoms.info
    made = sample(silver_salt.supercell, PaperEq2Sampler(), 2, 7, name="random")
    save_configurations(made, tmp_path / "random.extxyz")
    atoms = read(tmp_path / "random.extxyz", index=1, format="extxyz")
    assert (atoms.info["amplitude_A"], atoms.info["seed"]) == (0.2, 7)


def test_files_of_users_readers_accept_it(mixed, tmp_path):
    from phonograph.files.structures import read_structures

    save_configurations(mixed, tmp_path / "mix.extxyz")
    crystals = read_structures(tmp_path / "mix.extxyz")
    assert_array_equal(np.concatenate([c.positions_A for c in crystals]), mixed.positions_A)


def test_statistics_round_trip(silver_salt, tmp_path):
    made = sample(silver_salt, ThermalSampler(), 20, 1, name="phonon")
    for reference in (silver_salt, silver_salt.supercell):
        statistics = certify(made, reference)
        save_certificate(statistics, tmp_path / "phonon.certificate.json")
        found = load_certificate(tmp_path / "phonon.certificate.json")
        assert found.checks == statistics.checks
        assert found.species_rms_A == statistics.species_rms_A
        assert found.nearest_bonds == statistics.nearest_bonds
        assert found.minimum_distance_A == statistics.minimum_distance_A
        assert (found.name, found.n) == ("phonon", 20)
        assert failed_checks(found) == ()
        assert_array_equal(found.harmonic_energy_eV_per_atom, statistics.harmonic_energy_eV_per_atom)


# Wrong input


def damaged(tmp_path, mixed, change) -> str:
    path = tmp_path / "mix.extxyz"
    save_configurations(mixed, path)
    change(path)
    with pytest.raises(InputFileError) as caught:
        load_configurations(path)
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


def test_missing_files(mixed, tmp_path):
    assert "does not exist" in damaged(tmp_path, mixed, lambda path: path.unlink())
    assert "not found" in damaged(tmp_path, mixed, lambda path: path.with_suffix(".json").unlink())


def test_a_changed_or_truncated_set_is_refused(mixed, tmp_path):
    for change in (
        lambda path: path.write_text(path.read_text()[:5000]),
        lambda path: path.write_text(path.read_text().replace("Ag ", "Au ", 1)),
    ):
        assert "changed or cut off" in damaged(tmp_path, mixed, change)
    assert "empty" in damaged(tmp_path, mixed, lambda path: path.write_text(""))


def rewrite(path, edit_text=lambda text: text, edit_sidecar=lambda document: None) -> None:
    """Change both files so that the checksum still fits: what a hostile author would do."""
    import hashlib

    path.write_text(edit_text(path.read_text()))
    sidecar = path.with_suffix(".json")
    document = json.loads(sidecar.read_text())
    document["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    edit_sidecar(document)
    sidecar.write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda text: text.replace("40\n", "1000000000\n", 1), "frame 0 claims 1000000000 atoms"),
        (lambda text: text.replace("40\n", "-1\n", 1), "claims -1 atoms"),
        (lambda text: text.replace("40\n", "forty\n", 1), "cannot be read"),
        (lambda text: text.replace("Lattice=", "Cell=", 1), "no Lattice"),
        (lambda text: text.replace('Lattice="', 'Lattice="1 ', 1), "cannot be read"),
        (lambda text: text.replace("\nAg ", "\nQq ", 1), "unknown or missing"),
        (lambda text: text.replace("\nAg ", "\nAg nan ", 1), "cannot be read"),
        (lambda text: text.replace("\nAg ", "\nAg x", 1), "cannot be read"),
        (lambda text: "".join(text.splitlines(keepends=True)[:42]), "must describe 1 samples"),
    ],
)
def test_hostile_sets(mixed, tmp_path, edit, words):
    assert words in damaged(tmp_path, mixed, lambda path: rewrite(path, edit))


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda d: d.update(schema="other"), "schema"),
        (lambda d: d.update(name=3), "name must be of type str"),
        (lambda d: d.update(index="all"), "index must be of type list"),
        (lambda d: d.update(index=["x"] * 5), "not a set of configurations"),
        (lambda d: d.update(temperature_K=["hot"] * 5), "cannot be read"),
        (lambda d: d.pop("group"), "group must be of type list"),
        (lambda d: d.update(origin=[]), "origin"),
    ],
)
def test_hostile_sidecars(mixed, tmp_path, edit, words):
    assert words in damaged(tmp_path, mixed, lambda path: rewrite(path, edit_sidecar=edit))


def test_nan_positions_are_refused(mixed, tmp_path):
    def poison(text: str) -> str:
        lines = text.splitlines()
        lines[2] = "Ag nan " + " ".join(lines[2].split()[2:])
        return "\n".join(lines) + "\n"

    assert "must be finite" in damaged(tmp_path, mixed, lambda path: rewrite(path, poison))


def test_a_broken_certificate_is_refused(silver_salt, tmp_path):
    path = tmp_path / "phonon.certificate.json"
    save_certificate(certify(sample(silver_salt, ThermalSampler(), 2, 1, name="phonon"), silver_salt), path)
    document = json.loads(path.read_text())
    document["checks"] = [{"name": "variance"}]
    path.write_text(json.dumps(document))
    with pytest.raises(InputFileError, match="certificate"):
        load_certificate(path)
