"""``phonograph predict``: trained networks on whatever structures a user has."""

from __future__ import annotations

import csv
import io
import shutil
from dataclasses import replace

import numpy as np
import pytest

import phonograph as pg
from phonograph.cli import main
from phonograph.errors import UserError
from phonograph.steps import prediction
from phonograph.steps.prediction import predict_structures
from phonograph.testing import cubic_antiperovskite, displaced

SPEC = pg.GraphSpec(cutoff_A=5.0)


def fits_of(made, count, target="band_gap_eV", spec=SPEC):
    graphs = pg.build_graphs(made, spec)
    owner = np.repeat(np.arange(len(graphs)), np.diff(graphs.edge_offsets))
    values = np.bincount(owner, np.cos(graphs.distance_A), len(graphs))
    split = pg.make_split(graphs.sample_ids, graphs.groups, seed=1)
    settings = pg.TrainingSettings(epochs=3, batch_size=8)
    model = pg.GraphConvNet(hidden_channels=8)
    return [pg.fit(graphs, values, split, model, settings, target=target, seed=seed) for seed in range(count)]


@pytest.fixture(scope="module")
def made():
    return displaced(cubic_antiperovskite(4.9), 24, 0.1, seed=2)


@pytest.fixture(scope="module")
def fits(made):
    return fits_of(made, 3)


@pytest.fixture(scope="module")
def bundles(fits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles")
    for fitted in fits:
        pg.save_bundle(fitted, folder / fitted.name)
    return [folder / fitted.name for fitted in fits]


def atoms_of(crystal):
    from ase import Atoms

    return Atoms(crystal.numbers, crystal.positions_A, cell=crystal.cell_A, pbc=True)


def command(*arguments):
    return main(["predict", *map(str, arguments), "-q"])


def rows(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_one_network_gives_what_predict_gives(fits, bundles, made, tmp_path, capsys):
    from ase.io import write

    write(tmp_path / "frames.extxyz", [atoms_of(made.crystal(i)) for i in range(5)])
    assert command(bundles[0], tmp_path / "frames.extxyz") == 0
    got = rows(capsys.readouterr().out)
    expected = pg.predict(fits[0], pg.build_graphs(made, SPEC))[:5]
    np.testing.assert_allclose([float(row["value"]) for row in got], expected, rtol=1e-9)
    assert [row["structure"] for row in got] == [f"{tmp_path / 'frames.extxyz'}:{i}" for i in range(5)]
    assert {(row["formula"], row["atoms"], row["unit"], row["std"], row["models"]) for row in got} == {
        ("Ag3SBr", "5", "eV", "", "1")
    }


def test_several_networks_are_an_ensemble(fits, bundles, made, tmp_path):
    from ase.io import read, write

    write(tmp_path / "frames.extxyz", [atoms_of(made.crystal(i)) for i in range(4)])
    assert command(*bundles, tmp_path / "frames.extxyz", "-o", tmp_path / "out.csv") == 0
    each = np.array([pg.predict(fitted, pg.build_graphs(made, SPEC))[:4] for fitted in fits])
    got = rows((tmp_path / "out.csv").read_text())
    np.testing.assert_allclose([float(row["value"]) for row in got], each.mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose([float(row["std"]) for row in got], each.std(axis=0, ddof=1), rtol=1e-9)
    assert command(*bundles, tmp_path / "frames.extxyz", "-o", tmp_path / "out.extxyz") == 0
    frames = read(tmp_path / "out.extxyz", ":")
    np.testing.assert_allclose([atoms.info["band_gap_eV"] for atoms in frames], each.mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose([atoms.info["band_gap_eV_std"] for atoms in frames], each.std(axis=0, ddof=1), rtol=1e-9)
    assert {atoms.info["band_gap_eV_unit"] for atoms in frames} == {"eV"}
    for i, atoms in enumerate(frames):
        np.testing.assert_allclose(atoms.positions, made.crystal(i).positions_A, atol=1e-7)
        assert (atoms.numbers == made.crystal(i).numbers).all()


def test_a_network_that_is_given_twice_counts_once(fits, bundles, made, tmp_path, capsys, monkeypatch):
    from ase.io import write

    write(tmp_path / "POSCAR", atoms_of(made.crystal(0)), format="vasp")
    shutil.copytree(bundles[0], tmp_path / "copy")
    (tmp_path / "link").symlink_to(bundles[0])
    monkeypatch.chdir(bundles[0].parent)
    same = [bundles[0], bundles[0].name, tmp_path / "link", tmp_path / "copy"]
    capsys.readouterr()
    assert command(*same, tmp_path / "POSCAR") == 0
    said = capsys.readouterr()
    assert {(row["std"], row["models"]) for row in rows(said.out)} == {("", "1")}
    warned = [line for line in said.err.splitlines() if "copies" in line]
    assert len(warned) == 1
    assert warned[0].startswith("warning: 3 of 4 networks are copies of others, which count once: ")
    # Of an ensemble it is left out, and what is left is the ensemble.
    got, alone = predict_structures([*fits, fits[1]], made), predict_structures(fits, made)
    assert got.columns[0].models == alone.columns[0].models
    assert np.array_equal(got.columns[0].spread, alone.columns[0].spread)
    assert f"1 of 4 networks are copies of others, which count once: {fits[1].name} is given twice." in got.warnings
    renamed = replace(fits[0], name="another")
    assert f"another is the same network as {fits[0].name}." in predict_structures([fits[0], renamed], made).warnings[0]
    assert not any("copies" in sentence for sentence in alone.warnings)


def test_every_kind_of_file_gives_the_same_number(fits, bundles, made, tmp_path, capsys):
    from ase.db import connect
    from ase.io import write

    atoms = atoms_of(made.crystal(3))
    (tmp_path / "folder").mkdir()
    files = ["POSCAR", "a.vasp", "a.cif", "a.extxyz", "a.traj", "XDATCAR", "a.db", "folder/POSCAR_1"]
    for name in files:
        if name == "a.db":
            with connect(tmp_path / name) as database:
                database.write(atoms)
        elif name == "XDATCAR":
            write(tmp_path / name, [atoms, atoms], format="vasp-xdatcar")
        elif name == "a.cif":
            write(tmp_path / name, atoms)
        else:
            kind = {"a.extxyz": "extxyz", "a.traj": "traj"}.get(name, "vasp")
            write(tmp_path / name, atoms, format=kind)
    places = [tmp_path / ("folder" if name.startswith("folder") else name) for name in files]
    capsys.readouterr()
    assert command(bundles[0], *places) == 0
    got = np.array([float(row["value"]) for row in rows(capsys.readouterr().out)])
    assert len(got) == len(files) + 1  # XDATCAR holds two frames
    # CIF and XDATCAR round coordinates.
    np.testing.assert_allclose(got, pg.predict(fits[0], pg.build_graphs(made, SPEC))[3], rtol=1e-4)


def test_networks_of_several_targets_and_cutoffs(fits, made):
    other = fits_of(made, 2, "hydrostatic_stress_GPa", pg.GraphSpec(cutoff_A=4.5))
    got = predict_structures([*fits, *other], made)
    assert [(c.target, c.unit, len(c.models)) for c in got.columns] == [
        ("band_gap_eV", "eV", 3),
        ("hydrostatic_stress_GPa", "GPa", 2),
    ]
    expected = np.mean([pg.predict(f, pg.build_graphs(made, pg.GraphSpec(cutoff_A=4.5))) for f in other], axis=0)
    np.testing.assert_allclose(got.columns[1].values, expected, rtol=1e-12)
    with pytest.raises(UserError, match=r"band_gap_eV in eV and .* in meV"):
        predict_structures([fits[0], replace(fits[1], unit="meV")], made)


def test_the_heads_of_a_joint_network_are_bundles_of_their_own(made, tmp_path):
    from phonograph.training import fit_joint
    from phonograph.types import LabelColumn, Labels

    graphs = pg.build_graphs(made, SPEC)
    values = {"band_gap_eV": np.linspace(0, 1, 24), "hydrostatic_stress_GPa": np.linspace(5, -5, 24) ** 2}
    labels = Labels(
        sample_ids=graphs.sample_ids,
        set_names=("toy",) * 24,
        columns=tuple(
            LabelColumn(name=name, unit=name.split("_")[-1], values=column, engine="planted")
            for name, column in values.items()
        ),
        status=("ok",) * 24,
    )
    split = pg.make_split(graphs.sample_ids, graphs.groups)
    settings = pg.TrainingSettings(epochs=3, batch_size=8)
    joint = fit_joint(graphs, labels, split, pg.GraphConvNet(hidden_channels=8), settings, targets=tuple(values))
    for fitted in joint:
        pg.save_bundle(fitted, tmp_path / fitted.target)
    got = predict_structures([tmp_path / name for name in values], made)
    assert [column.target for column in got.columns] == list(values)
    for column, fitted in zip(got.columns, joint, strict=True):
        np.testing.assert_allclose(column.values, pg.predict(fitted, graphs), rtol=1e-12)
    assert not np.allclose(got.columns[0].values, got.columns[1].values)


def test_blocks_do_not_change_the_numbers(fits, made, monkeypatch):
    whole = predict_structures(fits, made)
    monkeypatch.setattr(prediction, "ATOMS_AT_ONCE", 17)
    parts = predict_structures(fits, made)
    np.testing.assert_allclose(parts.columns[0].values, whole.columns[0].values, rtol=1e-12)
    assert np.array_equal(parts.short_edges, whole.short_edges)


def moved(crystal, **changes):
    return replace(crystal, masses_amu=np.zeros(0), **changes)


def training_crystals(fitted, made):
    return [made.crystal(made.ids.index(sample)) for sample in fitted.split.train]


def lengths(crystal):
    """Return pair of symbols → lengths of the directed edges, by ASE's neighbour list."""
    from ase.neighborlist import neighbor_list

    first, second, distance = neighbor_list("ijd", atoms_of(crystal), SPEC.cutoff_A)
    found = {}
    for i, j, d in zip(first, second, distance, strict=True):
        found.setdefault(tuple(sorted((crystal.symbols[i], crystal.symbols[j]))), []).append(d)
    return found


def short_by_hand(crystal, training):
    shortest = {}
    for one in training:
        for pair, values in lengths(one).items():
            shortest[pair] = min(min(values), shortest.get(pair, np.inf))
    return sum(d < shortest.get(pair, SPEC.cutoff_A) for pair, values in lengths(crystal).items() for d in values)


def test_each_way_out_of_the_training_range_is_counted_and_named(fits, made):
    training = [made.crystal(made.ids.index(sample)) for sample in fits[0].split.train[:3]]
    inside = predict_structures(fits[:1], training)
    assert not inside.outside.any()
    assert inside.warnings == ()

    crystal = cubic_antiperovskite(4.9)
    near = crystal.positions_A.copy()
    near[3] += 0.35 * (near[0] - near[3])  # S towards one Ag
    numbers = crystal.numbers.copy()
    numbers[4] = 16  # Br replaced by S: an element it knows, a composition it does not
    swapped = moved(crystal, numbers=numbers)
    dense = moved(crystal, cell_A=0.85 * crystal.cell_A, positions_A=0.85 * crystal.positions_A)
    made_of = [crystal, moved(crystal, positions_A=near), swapped, dense]
    got = predict_structures(fits[:1], made_of)
    assert got.short_edges[0] == 0
    assert got.short_edges[1] == short_by_hand(made_of[1], training_crystals(fits[0], made)) > 0
    assert got.composition.tolist() == [False, False, True, False]
    assert got.density.tolist()[3]
    assert got.outside.tolist() == [False, True, True, True]
    text = " ".join(got.warnings)
    assert "the first is structure 1" in text
    assert "have a composition outside" in text
    assert "have fewer or more neighbours" in text

    low, high = fits[0].train_range
    narrow = replace(fits[0], train_range=(low, low + 1e-9))
    assert predict_structures([narrow], training).columns[0].out_of_range.sum() >= 2
    wide = replace(fits[0], train_range=(low - 100, high + 100))
    assert not predict_structures([wide], training).columns[0].out_of_range.any()


def test_distances_beyond_the_longest_of_min_max_scaling_are_counted(fits, made):
    inputs = replace(fits[0].inputs, edge_law="minmax", distance_max_A=4.0)
    got = predict_structures([replace(fits[0], inputs=inputs)], [made.crystal(0)])
    assert got.long_edges[0] == (pg.build_graphs(made, SPEC).select([0]).distance_A > 4.0).sum() > 0


def one_sentence(capsys):
    said = capsys.readouterr()
    assert len(said.err.splitlines()) == 1, said.err
    assert said.out == ""
    return said.err


def test_mistakes_are_told_in_one_sentence(bundles, tmp_path, capsys):
    from ase.io import write

    atoms = atoms_of(cubic_antiperovskite())
    strange = atoms.copy()
    strange.numbers[0] = 92
    write(tmp_path / "frames.extxyz", [atoms, strange])
    write(tmp_path / "POSCAR", atoms, format="vasp")
    (tmp_path / "my.toml").write_text("")
    (tmp_path / "notes.txt").write_text("?")
    (tmp_path / "empty").mkdir()
    good = tmp_path / "POSCAR"
    for arguments, words in (
        ([bundles[0], tmp_path / "frames.extxyz"], "frames.extxyz:1 holds U, but network"),
        ([good], "is not a bundle"),
        ([bundles[0]], "needs structures"),
        ([bundles[0], tmp_path / "nothing"], "does not exist"),
        ([tmp_path / "my.toml"], "phonograph thermal"),
        ([bundles[0], tmp_path / "notes.txt"], "no file of structures"),
        ([bundles[0], tmp_path / "empty"], "holds 0 structure files"),
        ([bundles[0], good, "-o", tmp_path / "out.pdf"], "written as .csv or .extxyz"),
        ([bundles[0], good, "--model", "no_such_module:make"], "cannot be imported"),
        ([bundles[0], good, "--model", "os:nothing"], "is not a function"),
    ):
        assert command(*arguments) == 2
        assert words in one_sentence(capsys), arguments


OWN = """
import torch
class Own(torch.nn.Module):
    def __init__(self, features):
        super().__init__()
        self.layer = torch.nn.Linear(features, 1)
    def forward(self, batch):
        return self.layer(batch.pool(batch.aggregate(batch.x), "mean")).squeeze(-1)
class OwnModel:
    def build(self, features, seed):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return Own(features)
def make():
    return OwnModel()
"""


def test_a_network_of_ones_own_is_named_by_its_function(made, tmp_path, capsys, monkeypatch):
    from ase.io import write

    (tmp_path / "own_network_for_predict.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    from own_network_for_predict import OwnModel  # type: ignore[import-not-found]

    graphs = pg.build_graphs(made, SPEC)
    split = pg.make_split(graphs.sample_ids, graphs.groups)
    values = np.arange(len(graphs), dtype=float)
    fitted = pg.fit(graphs, values, split, OwnModel(), pg.TrainingSettings(epochs=2), target="band_gap_eV")
    pg.save_bundle(fitted, "mine")
    write("POSCAR", atoms_of(made.crystal(0)), format="vasp")
    assert command("mine", "POSCAR", "--model", "own_network_for_predict:make") == 0
    got = float(rows(capsys.readouterr().out)[0]["value"])
    np.testing.assert_allclose(got, pg.predict(fitted, graphs)[0], rtol=1e-9)
    assert command("mine", "POSCAR") == 2
    assert "not a network of this program; pass it" in one_sentence(capsys)
