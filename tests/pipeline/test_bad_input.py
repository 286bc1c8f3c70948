"""Data that cannot be learned from, and splits that leak, end to end through the command: one sentence, exit code 2."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from ase import Atoms
from ase.io import write

from phonograph.cli import main
from phonograph.streams import stream
from phonograph.testing import cubic_antiperovskite, displaced

CONFIG = """
workers = 1
[[data.sets]]
name = "mine"
structures = "mine.extxyz"
labels = "labels.csv"
[graphs]
cutoff_A = 4.5
[training]
targets = ["band_gap_eV"]
seeds = [0]
{training}
[training.model]
hidden_channels = 8
[training.settings]
epochs = 4
checkpoint_s = 1000.0
{settings}
"""


def frames_of(n, seed=1):
    made = displaced(cubic_antiperovskite(4.9), n, 0.1, seed=seed)
    return [
        Atoms(c.numbers, c.positions_A, cell=c.cell_A, pbc=True) for c in (made.crystal(i) for i in range(len(made)))
    ]


def labels_of(frames):
    return [float(np.cos(atoms.get_all_distances(mic=True)).sum()) for atoms in frames]


def project(folder, frames, labels, training="", settings=""):
    write(folder / "mine.extxyz", frames, format="extxyz")
    with (folder / "labels.csv").open("w", newline="") as table:
        writer = csv.writer(table)
        writer.writerow(["id", "band_gap_eV"])
        writer.writerows([i, label] for i, label in enumerate(labels))
    (folder / "my.toml").write_text(CONFIG.format(training=training, settings=settings))
    return folder


def train(folder, capsys, command="train", *more):
    capsys.readouterr()
    code = main([command, str(folder / "my.toml"), "-o", str(folder / "run"), *more])
    return code, capsys.readouterr()


def refusal(folder, capsys, command="train"):
    code, said = train(folder, capsys, command, "-q")
    assert code == 2, said.err
    assert said.out == ""
    assert len(said.err.splitlines()) == 1, said.err
    assert said.err.startswith("phonograph: ")
    return said.err


def test_labels_with_holes_are_counted_left_out_and_the_run_goes_on(tmp_path, capsys):
    frames = frames_of(24)
    labels = labels_of(frames)
    labels[3], labels[7], labels[11] = "nan", "", "NaN"
    code, said = train(project(tmp_path, frames, labels), capsys, "evaluate")
    assert code == 0, said.err
    assert "3 of 24 samples of set 'mine' have no band_gap_eV" in said.err
    with (tmp_path / "run" / "6_evaluation" / "predictions.csv").open(newline="") as table:
        named = {row["sample_id"] for row in csv.DictReader(table)}
    assert not named & {"mine-00003", "mine-00007", "mine-00011"}


@pytest.mark.parametrize("word", ["inf", "1e999", "high"])
def test_labels_that_are_no_numbers_are_refused_by_line(tmp_path, capsys, word):
    frames = frames_of(12)
    labels = [*labels_of(frames)[:-1], word]
    assert "labels.csv" in refusal(project(tmp_path, frames, labels), capsys)


def test_nothing_but_holes(tmp_path, capsys):
    assert "no" in (sentence := refusal(project(tmp_path, frames_of(12), [""] * 12), capsys))
    assert "band_gap_eV" in sentence


def test_a_constant_target(tmp_path, capsys):
    sentence = refusal(project(tmp_path, frames_of(12), [1.5] * 12), capsys)
    assert "band_gap_eV is 1.5 for all" in sentence
    assert "nothing to learn" in sentence


@pytest.mark.parametrize(
    ("command", "option", "targets", "words"),
    [
        ("train", "training.targets", '["nope"]', "known here: band_gap_eV"),
        ("train", "training.targets", '["band_gap_eV", "band_gap"]', "did you mean 'band_gap_eV'?"),
        ("learning-curve", "learning_curve.targets", '["band_gap"]', "did you mean 'band_gap_eV'?"),
        ("learning-curve", "training.targets", '["nope"]', "known here: band_gap_eV"),
    ],
)
def test_targets_that_are_no_labels_are_refused_before_any_fit(tmp_path, capsys, command, option, targets, words):
    frames = frames_of(12)
    folder = project(tmp_path, frames, labels_of(frames))
    code, said = train(folder, capsys, command, "-q", "--set", f"{option}={targets}")
    assert code == 2
    assert f"{option} names " in said.err
    assert words in said.err
    assert "fits" not in said.err
    assert not list((tmp_path / "run" / "5_training").glob("**/*.safetensors"))
    assert not (tmp_path / "run" / "learning_curve").exists()


def test_a_target_that_is_named_twice_is_refused_by_its_option(tmp_path, capsys):
    frames = frames_of(12)
    folder = project(tmp_path, frames, labels_of(frames))
    code, said = train(folder, capsys, "train", "-q", "--set", 'training.targets=["band_gap_eV", "band_gap_eV"]')
    assert code == 2
    assert "training.targets must differ from each other" in said.err
    assert not (tmp_path / "run").exists()


def test_an_absurd_label_is_named_and_no_model_is_written(tmp_path, capsys):
    frames = frames_of(12)
    labels = labels_of(frames)
    labels[5] = 1e300
    sentence = refusal(project(tmp_path, frames, labels, settings='target_scaling = "minmax"'), capsys, "evaluate")
    assert "band_gap_eV: the label 1e+300 of sample 'mine-00005' is so large" in sentence
    assert not list((tmp_path / "run" / "5_training").glob("*/model.json"))


@pytest.mark.parametrize("seed", ["-1", "99999999999999999999999"])
def test_a_seed_that_no_bundle_can_hold_is_refused_before_anything(tmp_path, capsys, seed):
    frames = frames_of(12)
    folder = project(tmp_path, frames, labels_of(frames))
    code, said = train(folder, capsys, "train", "-q", "--set", f"training.seeds=[{seed}]")
    assert code == 2
    assert f"training.seeds must be at least 0 and below 2^64, and a whole number; got {seed}" in said.err
    assert not (tmp_path / "run").exists()


def test_a_set_smaller_than_a_batch_works(tmp_path, capsys):
    frames = frames_of(6)
    folder = project(tmp_path, frames, labels_of(frames), settings="batch_size = 512")
    code, said = train(folder, capsys, "evaluate")
    assert code == 0, said.err


@pytest.mark.parametrize("count", [1, 2, 3])
def test_too_few_samples(tmp_path, capsys, count):
    frames = frames_of(count)
    sentence = refusal(project(tmp_path, frames, labels_of(frames)), capsys)
    assert f"got {count} samples in {count} groups" in sentence


def test_fewer_than_three_groups(tmp_path, capsys):
    frames = frames_of(12)
    for i, atoms in enumerate(frames):
        atoms.info["group"] = "ab"[i % 2]
    assert "got 12 samples in 2 groups" in refusal(project(tmp_path, frames, labels_of(frames)), capsys)


def test_training_that_diverges(tmp_path, capsys):
    frames = frames_of(12)
    # Adam and batch norms bound the steps, so a large learning rate alone gives a bad network, not NaN.
    code, _ = train(project(tmp_path, frames, labels_of(frames), settings="learning_rate = 1.0"), capsys)
    assert code == 0
    # A penalty beyond single precision does what a step too far does elsewhere.
    folder = project(tmp_path, frames, labels_of(frames), settings="learning_rate = 1.0\nweight_decay = 1e39")
    sentence = refusal(folder, capsys)
    assert "diverged in epoch 0" in sentence
    assert "lower the learning rate, now 1" in sentence


def test_copies_in_a_users_file_share_a_group_and_do_not_leak(tmp_path, capsys):
    frames = frames_of(12)
    frames += [frames[2].copy(), frames[3].copy()]
    code, said = train(project(tmp_path, frames, labels_of(frames)), capsys)
    assert code == 0, said.err
    assert "2 structures of set 'mine' are exact copies" in said.err


def leaky(folder, training=""):
    """Two in three samples have a near copy, each in a group of its own: some must straddle."""
    frames = frames_of(12)
    for i in range(12):
        near = frames[i].copy()
        near.positions += 0.4 + stream(3, i).uniform(-0.004, 0.004, near.positions.shape)
        frames.append(near[[4, 3, 2, 1, 0]])
    return project(folder, frames, labels_of(frames), training)


def test_a_split_that_leaks_fails_the_run_and_the_table_says_where(tmp_path, capsys):
    sentence = refusal(leaky(tmp_path), capsys)
    assert "the split leaks:" in sentence
    assert "near duplicates between its parts" in sentence
    assert "allow = ['near-duplicates']" in sentence
    with (tmp_path / "run" / "5_training" / "leaks.csv").open(newline="") as table:
        rows = list(csv.DictReader(table))
    assert rows
    for row in rows:
        assert row["kind"] == "near-duplicates"
        assert int(row["other_sample"][-5:]) == int(row["sample"][-5:]) + 12
        assert row["part"] != row["other_part"]
        assert float(row["difference_A"]) < 0.02
    assert not list((tmp_path / "run" / "5_training").glob("*/model.json"))


def test_a_leak_that_is_allowed_by_name_is_told_and_the_run_goes_on(tmp_path, capsys):
    code, said = train(leaky(tmp_path, 'allow = ["near-duplicates"]'), capsys)
    assert code == 0, said.err
    assert "which [training] allow accepts" in said.err
    # A second run reads the table again and tells it again.
    code, said = train(tmp_path, capsys)
    assert code == 0
    assert "training: unchanged" in said.err
    assert "which [training] allow accepts" in said.err


def test_a_leak_of_another_kind_than_allowed_still_fails(tmp_path, capsys):
    assert "the split leaks" in refusal(leaky(tmp_path, 'allow = ["antithetic-pairs"]'), capsys)
    assert "allow must be one of" in refusal(leaky(tmp_path, 'allow = ["everything"]'), capsys)


def test_a_bundle_that_was_changed_in_the_run_folder_is_made_again(tmp_path, capsys):
    frames = frames_of(12)
    folder = project(tmp_path, frames, labels_of(frames))
    assert train(folder, capsys)[0] == 0
    weights = next((tmp_path / "run" / "5_training").glob("*/model.safetensors"))
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    code, said = train(folder, capsys)
    assert code == 0
    assert "training: done" in said.err
    assert weights.read_bytes() == whole


def test_a_set_that_is_only_tested_and_holds_copies_of_the_training_set_fails(tmp_path, capsys):
    frames = frames_of(12)
    folder = project(tmp_path, frames, labels_of(frames))
    other = [atoms.copy() for atoms in frames_of(6, seed=5)]
    other[2] = frames[0].copy()
    for i, atoms in enumerate(other):
        atoms.info["band_gap_eV"] = float(i)
        atoms.info["group"] = f"other-{i}"
    write(folder / "other.extxyz", other, format="extxyz")
    text = (folder / "my.toml").read_text()
    more = '[[data.sets]]\nname = "other"\nstructures = "other.extxyz"\n[training.collections]\nmine = ["mine"]\n'
    (folder / "my.toml").write_text(text.replace("[training.model]", more + "[training.model]"))
    sentence = refusal(folder, capsys)
    assert "identical structures" in sentence
    assert "other-00002" in sentence


def test_labels_that_are_noise_are_not_learned_and_the_report_says_so(tmp_path, capsys):
    frames = frames_of(120)
    labels = stream(8, "noise").normal(1.0, 0.3, 120).tolist()
    folder = project(tmp_path, frames, labels)
    text = (
        (folder / "my.toml")
        .read_text()
        .replace("seeds = [0]", "seeds = [0, 1, 2]")
        .replace("epochs = 4", "epochs = 30")
    )
    (folder / "my.toml").write_text(text)
    code, said = train(folder, capsys, "evaluate")
    assert code == 0, said.err
    assert "beat the mean of their training labels" in said.err
    with (tmp_path / "run" / "6_evaluation" / "metrics.csv").open(newline="") as table:
        r2 = [
            float(row["r2"])
            for row in csv.DictReader(table)
            if (row["split"], row["scope"]) == ("test", "all") and row["model"].startswith("band_gap")
        ]
    assert len(r2) == 3
    assert np.mean(r2) <= 0.05
    assert train(folder, capsys, "report")[0] == 0
    assert "beat the mean of their training labels" in (tmp_path / "run" / "report.html").read_text()
