"""Old bundles predict the same numbers for ever; whatever is done to a bundle gives one sentence and exit code 2."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load, save

import phonograph as pg
from phonograph.cli import main
from phonograph.errors import InputFileError, UserError
from phonograph.files import bundle
from phonograph.files.bundle import load_bundle, save_bundle
from phonograph.models import predict
from phonograph.streams import stream

BUNDLES = Path(__file__).parent / "bundles"
POSCAR = "x\n4.9\n1 0 0\n0 1 0\n0 0 1\nAg S Br\n3 1 1\nDirect\n.5 .5 0\n.5 0 .5\n0 .5 .5\n.5 .5 .5\n0 0 0\n"


@pytest.fixture(scope="module")
def maker():
    spec = importlib.util.spec_from_file_location("make_bundle", BUNDLES / "make_bundle.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def present(maker, tmp_path_factory):
    """A bundle of the present schema."""
    folder = tmp_path_factory.mktemp("bundles")
    maker.main(folder)
    return folder / "default"


@pytest.fixture
def broken(present, tmp_path):
    folder = tmp_path / "bundle"
    shutil.copytree(present, folder)
    (tmp_path / "POSCAR").write_text(POSCAR)
    return folder


def refused(folder, capsys, structure=None):
    """Run the command as a user does; return its one sentence, or None where it predicted."""
    code = main(["predict", str(folder), str(structure or folder.parent / "POSCAR"), "-q"])
    said = capsys.readouterr()
    if code == 0:
        return None
    assert code == 2
    assert said.out == ""
    lines = said.err.splitlines()
    assert len(lines) == 1, said.err
    assert lines[0].startswith("phonograph: ")
    assert len(lines[0]) < 700
    return lines[0]


def rewrite(folder, change=lambda d: None, weights=None):
    """Edit a bundle as someone would who knows the format, hashes included."""
    if weights is not None:
        (folder / "model.safetensors").write_bytes(weights)
    path = folder / "model.json"
    document = json.loads(path.read_text())
    document["weights_sha256"] = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    change(document)
    content = {k: v for k, v in document.items() if k not in ("schema", "warnings", "origin", "sha256")}
    document["sha256"] = bundle._digest(document["schema"], content, tuple(document["warnings"]), document["origin"])
    path.write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("schema", "name"), sorted((path.parent.parent.name, path.parent.name) for path in BUNDLES.glob("*/*/model.json"))
)
def test_bundles_of_every_release_predict_the_same_for_ever(schema, name, maker):
    fitted = load_bundle(BUNDLES / schema / name)
    graphs = pg.build_graphs(maker.structures(), fitted.graph)
    expected = json.loads((BUNDLES / schema / "predictions.json").read_text())[name]
    stored = np.array([float.fromhex(text) for text in expected])
    assert stored.std() > 1e-3
    np.testing.assert_allclose(predict(fitted, graphs), stored, rtol=1e-12)
    assert fitted.heads == (("band_gap_eV", "vbm_eV") if name == "joint" else ())
    assert fitted.inputs.radial_functions == (8 if name in ("radial", "joint") else 0)
    assert (fitted.domain is None) == (schema == "schema-1")


def test_an_old_bundle_is_saved_anew_as_the_present_schema(tmp_path, maker):
    old = load_bundle(BUNDLES / "schema-1" / "default")
    save_bundle(old, tmp_path)
    assert json.loads((tmp_path / "model.json").read_text())["schema"] == bundle.SCHEMA
    graphs = pg.build_graphs(maker.structures(), old.graph)
    assert np.array_equal(predict(load_bundle(tmp_path), graphs), predict(old, graphs))


def test_the_training_range_and_heads_come_back(present, tmp_path):
    from dataclasses import replace

    fitted = load_bundle(present)
    assert fitted.domain is not None
    assert fitted.domain.elements == (16, 35, 47, 53)
    joint = replace(fitted, heads=("band_gap_eV",))
    save_bundle(joint, tmp_path)
    again = load_bundle(tmp_path)
    assert (again.heads, again.domain) == (("band_gap_eV",), fitted.domain)


def test_every_flipped_byte_of_the_description_is_noticed_or_harmless(present, broken, capsys):
    whole = (present / "model.json").read_bytes()
    random = stream(5, "flips")
    expected = load_bundle(present)
    refusals = []
    for place in range(0, len(whole), 7):
        data = bytearray(whole)
        data[place] ^= int(random.integers(1, 256))
        (broken / "model.json").write_bytes(bytes(data))
        try:
            again = load_bundle(broken)
        except InputFileError as error:
            refusals.append(str(error))
        else:
            # White space between the entries is all that may change.
            assert whole[place : place + 1].isspace()
            assert (again.inputs, again.scaling, again.split) == (expected.inputs, expected.scaling, expected.split)
    assert len(refusals) > len(whole) // 14
    assert not any("\n" in sentence for sentence in refusals)


def test_truncated_files_are_refused(present, broken, capsys):
    for name in ("model.json", "model.safetensors"):
        whole = (present / name).read_bytes()
        for length in (0, 1, 7, 8, len(whole) // 2, len(whole) - 1):
            (broken / name).write_bytes(whole[:length])
            # The last byte of the description is its last line break.
            assert refused(broken, capsys) or (name, length) == ("model.json", len(whole) - 1)
        (broken / name).write_bytes(whole)
    assert refused(broken, capsys) is None


def test_weights_of_another_model_are_refused(present, broken, capsys):
    shutil.copy(present.parent / "paper" / "model.safetensors", broken / "model.safetensors")
    assert "is not the file that model.json describes" in refused(broken, capsys)


def nan_weights(folder):
    tensors = load((folder / "model.safetensors").read_bytes())
    return save({**tensors, "final.bias": np.full(1, np.nan, np.float32)})


def scalar(name, value):
    def change(document):
        *path, last = name.split(".")
        place = document
        for step in path:
            place = place[step]
        place[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (scalar("schema", "phonograph-bundle-3"), "schema must be"),
        (scalar("schema", bundle.SCHEMA_1), "unknown entries: domain, heads"),
        (scalar("heads", "band_gap_eV"), "heads must be"),
        (scalar("heads", ["energy_eV"]), "one of the heads"),
        (scalar("domain", []), "domain must be"),
        (scalar("domain.shortest_A", [1.0]), "training range of 4 elements"),
        (scalar("domain.neighbours_max", float("nan")), "neighbours_max must be"),
        (scalar("inputs.edge_law", "__import__"), "edge_law must be one of"),
        (scalar("inputs.node_features", "unknown"), "node_features must be one of"),
        (scalar("inputs.feature_min", []), "bounds of features"),
        (scalar("inputs.elements", [47, 10**30]), "atomic numbers"),
        (scalar("inputs.distance_max_A", -1.0), "bounds of distances"),
        (scalar("inputs.distance_max_A", float("inf")), "distance_max_A must be"),
        (scalar("scaling.scale", 0), "scale of the target"),
        (scalar("scaling.shift", 10**400), "shift must be"),
        (scalar("best_epoch", 10**9), "best epoch"),
        (scalar("seed", -1), r"seed must be at least 0 and below 2\^64"),
        (scalar("name", "two\nlines"), "must be printable"),
        (scalar("unit", "\ud800"), "must be printable"),
        (scalar("target", "\x1b[31mred"), "must be printable"),
        (scalar("model.fields.hidden_channels", 10**12), "hidden_channels must be at most"),
        (scalar("model.fields.dropout", float("nan")), "must be"),
        (scalar("model.class", "os.system('true')"), "not a network of this program"),
        (scalar("warnings", [1]), "warnings must be"),
        (scalar("origin", []), "origin must be"),
        (scalar("graph.cutoff_A", 1e9), "cutoff_A must be at most"),
    ],
)
def test_descriptions_that_cannot_be_are_refused(broken, capsys, change, words):
    import re

    try:
        rewrite(broken, change)
    except (ValueError, TypeError):
        pytest.fail("the test itself could not write the bundle")
    sentence = refused(broken, capsys)
    assert sentence is not None
    assert re.search(words, sentence), sentence


def test_weights_that_are_not_finite_are_refused(broken, capsys):
    rewrite(broken, weights=nan_weights(broken))
    assert "'final.bias' are not finite" in refused(broken, capsys)


def test_absurd_sizes_cost_neither_memory_nor_time(broken, capsys):
    import resource

    # 8 convolutions of 4096 channels are 1.9 GB of float64 weights, named in a few bytes.
    def huge(document):
        document["model"]["fields"].update(hidden_channels=4096, convolutions=8)

    rewrite(broken, huge)
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    assert "do not fit its network" in refused(broken, capsys)
    assert time.perf_counter() - started < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB
    # A header of safetensors that claims 2^60 bytes.
    header = json.dumps({"x": {"dtype": "F32", "shape": [2**58], "data_offsets": [0, 2**60]}}).encode()
    rewrite(broken, weights=len(header).to_bytes(8, "little") + header)
    assert "not a safetensors file" in refused(broken, capsys)


@pytest.mark.parametrize(
    "text",
    [
        b"[" * 100_000,
        b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
        b'{"schema": 1' + b"0" * 10_000 + b"}",
        b"\xff\xfe{}",
        b"null",
        b"{}",
        b'{"schema": "phonograph-bundle-2", "schema": "phonograph-bundle-2"}',
        b'{"schema": NaN}',
    ],
    ids=["brackets", "nested", "digits", "utf-16", "null", "empty", "twice", "nan"],
)
def test_json_bombs_are_refused(broken, capsys, text):
    (broken / "model.json").write_bytes(text)
    started = time.perf_counter()
    assert refused(broken, capsys) is not None
    assert time.perf_counter() - started < 5


def test_a_bundle_with_another_cutoff_than_the_graphs_is_refused(present, maker):
    fitted = load_bundle(present)
    graphs = pg.build_graphs(maker.structures(), pg.GraphSpec(cutoff_A=4.5))
    with pytest.raises(UserError, match=r"trained on graphs with cutoff 5 Å .*, but these have 4\.5 Å"):
        predict(fitted, graphs)
