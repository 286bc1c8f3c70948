"""Graphs come back from disk as they were; damaged files are refused in one sentence."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from phonograph.errors import InputFileError
from phonograph.files.graphs import load_graphs, save_graphs
from phonograph.graphs import GraphSpec, build_graphs
from phonograph.streams import stream
from phonograph.testing import cubic_antiperovskite, displaced
from phonograph.types import Crystal


@pytest.fixture(scope="module")
def graphs():
    return build_graphs(displaced(cubic_antiperovskite(), 3, 0.1, name="ünïcode"), GraphSpec(cutoff_A=4.5))


def rewritten(path, **changes):
    """Rewrite one graphs file with some arrays replaced."""
    with np.load(path, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    arrays.update(changes)
    with path.open("wb") as stream_:
        np.savez(stream_, **{name: value for name, value in arrays.items() if value is not None})


def test_round_trip_is_exact(graphs, tmp_path):
    save_graphs(graphs, tmp_path / "a folder" / "graphs.npz")
    again = load_graphs(tmp_path / "a folder" / "graphs.npz")
    for name in ("node_offsets", "numbers", "edge_offsets", "source", "target", "image", "distance_A"):
        one, other = getattr(graphs, name), getattr(again, name)
        assert one.dtype == other.dtype
        assert np.array_equal(one, other)
    assert (again.sample_ids, again.groups, again.spec) == (graphs.sample_ids, graphs.groups, graphs.spec)
    assert again.warnings == graphs.warnings
    assert dict(again.origin.settings) == dict(graphs.origin.settings)


def test_ten_bytes_an_edge(tmp_path):
    """20 cells of 40 atoms; atoms outside the cell, so that images are many; and the first version of the file."""
    cell = cubic_antiperovskite(4.9)
    shifts = np.stack(np.meshgrid(*[np.arange(2)] * 3), -1).reshape(-1, 3) @ cell.cell_A
    crystal = Crystal(
        cell_A=2 * cell.cell_A,
        positions_A=(shifts[:, None] + cell.positions_A).reshape(-1, 3),
        numbers=np.tile(cell.numbers, 8),
    )
    configurations = displaced(crystal, 20, 0.3)
    graphs = build_graphs(configurations, GraphSpec())
    save_graphs(graphs, tmp_path / "graphs.npz")
    assert (tmp_path / "graphs.npz").stat().st_size < 10.5 * len(graphs.source) + 12_000
    far = replace(configurations, positions_A=configurations.positions_A + 300 * crystal.cell_A[0] * np.eye(800, 1, -7))
    graphs = build_graphs(far, GraphSpec())
    assert np.abs(graphs.image).max() > 299
    save_graphs(graphs, tmp_path / "far.npz")
    again = load_graphs(tmp_path / "far.npz")
    for name in ("edge_offsets", "source", "target", "image", "distance_A"):
        assert np.array_equal(getattr(graphs, name), getattr(again, name)), name


def test_the_first_version_is_still_read(graphs, tmp_path):
    save_graphs(graphs, tmp_path / "graphs.npz")
    with np.load(tmp_path / "graphs.npz") as archive:
        header = json.loads(str(archive["header"]))
    first = {key: header[key] for key in ("cutoff_A", "convention", "warnings", "origin")}
    arrays = {
        name: getattr(graphs, name)
        for name in ("node_offsets", "numbers", "edge_offsets", "source", "target", "image", "distance_A")
    }
    np.savez(
        tmp_path / "first.npz",
        header=np.array(json.dumps({"schema": "phonograph-graphs-1", **first})),
        sample_ids=np.array(graphs.sample_ids),
        groups=np.array(graphs.groups),
        **arrays,
    )
    again = load_graphs(tmp_path / "first.npz")
    for name, array in arrays.items():
        assert np.array_equal(array, getattr(again, name))
    arrays["target"] = arrays["target"] + 50
    rewritten(tmp_path / "first.npz", **arrays)
    with pytest.raises(InputFileError, match="target must hold"):
        load_graphs(tmp_path / "first.npz")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"source": None}, "missing or unknown arrays: source"),
        ({"extra": np.zeros(3)}, "missing or unknown arrays: extra"),
        ({"numbers": np.full(15, 300)}, "atomic numbers"),
        ({"source": np.full(3, 99, dtype=np.uint8)}, "source must hold"),
        ({"degree": np.full(3, 99, dtype=np.uint8)}, "one number per atom"),
        ({"degree": np.full(15, 99, dtype=np.uint8)}, "degrees do not add up"),
        ({"node_offsets": np.array([0, 5, 3, 15])}, "node_offsets rise from 0"),
        ({"image": np.full(3, 255, dtype=np.uint8)}, "outside its block"),
        ({"sample_ids": np.array(["a", "a", "b"])}, "occurs twice"),
        ({"header": np.array("[]")}, "schema"),
        ({"header": np.array(json.dumps({"schema": "phonograph-graphs-2"}))}, "incomplete header"),
        ({"distance_A": np.zeros(4, dtype=np.int64)}, "distance_A holds int64"),
        ({"groups": np.array([1, 2, 3])}, "groups holds int64"),
    ],
)
def test_inconsistent_files_are_refused(graphs, tmp_path, changes, words):
    path = tmp_path / "graphs.npz"
    save_graphs(graphs, path)
    rewritten(path, **changes)
    with pytest.raises(InputFileError, match=words):
        load_graphs(path)


def test_out_of_range_distances_are_refused(graphs, tmp_path):
    path = tmp_path / "graphs.npz"
    save_graphs(graphs, path)
    for bad in (np.nan, -1.0, 4.5):
        distance = graphs.distance_A.copy()
        distance[7] = bad
        rewritten(path, distance_A=distance)
        with pytest.raises(InputFileError, match="distance_A must hold"):
            load_graphs(path)


def test_pickled_objects_are_refused(graphs, tmp_path):
    path = tmp_path / "graphs.npz"
    save_graphs(graphs, path)
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files}
    arrays["groups"] = np.array([{}, {}, {}], dtype=object)
    np.savez(path, **arrays)
    with pytest.raises(InputFileError, match=r"graphs\.npz"):
        load_graphs(path)


def test_missing_empty_and_foreign_files_are_refused(tmp_path):
    with pytest.raises(InputFileError):
        load_graphs(tmp_path / "none.npz")
    (tmp_path / "empty.npz").touch()
    with pytest.raises(InputFileError):
        load_graphs(tmp_path / "empty.npz")
    (tmp_path / "text.npz").write_text("POSCAR")
    with pytest.raises(InputFileError, match="graphs file"):
        load_graphs(tmp_path / "text.npz")


def test_a_file_that_claims_to_unpack_to_terabytes_is_refused(graphs, tmp_path):
    path = tmp_path / "graphs.npz"
    save_graphs(graphs, path)
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(io.BytesIO(bytes(data))) as archive:
        start = archive.start_dir
    # The uncompressed size in the first central directory entry; 0xFFFFFFFE is the most without zip64.
    for entry in range(10):
        place = start
        for _ in range(entry):
            lengths = [int.from_bytes(data[place + k : place + k + 2], "little") for k in (28, 30, 32)]
            place += 46 + sum(lengths)
        data[place + 24 : place + 28] = (0xFFFFFFFE).to_bytes(4, "little")
    path.write_bytes(bytes(data))
    with pytest.raises(InputFileError, match="at most"):
        load_graphs(path)


def test_a_changed_byte_is_noticed_or_harmless(graphs, tmp_path):
    path = tmp_path / "graphs.npz"
    save_graphs(graphs, path)
    whole = path.read_bytes()
    random = stream(0, "flip")
    for _ in range(120):
        data = bytearray(whole)
        place = int(random.integers(len(data)))
        data[place] ^= int(random.integers(1, 256))
        path.write_bytes(bytes(data))
        try:
            again = load_graphs(path)
        except InputFileError:
            continue
        assert np.array_equal(again.distance_A, graphs.distance_A)
        assert np.array_equal(again.source, graphs.source)
        assert again.sample_ids == graphs.sample_ids
        assert again.spec == graphs.spec
