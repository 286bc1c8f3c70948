"""A trained network comes back from disk as it was; a bundle that was tampered with is refused in one sentence."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from safetensors.numpy import load, save
from torch import nn

from phonograph.errors import DataError, InputFileError
from phonograph.files import bundle
from phonograph.files.bundle import load_bundle, save_bundle
from phonograph.models import GraphConvNet, predict
from phonograph.streams import stream
from phonograph.training import TrainingSettings, fit
from phonograph.types import Origin, TargetScaling

SETTINGS = TrainingSettings(epochs=3, batch_size=16)


@pytest.fixture(scope="module")
def fitted(graphs, labels, split):
    model = GraphConvNet(hidden_channels=8, dropout=0.1)
    return fit(graphs, labels, split, model, SETTINGS, target="toy_eV", trained_on="phonon", seed=4)


def rewrite(folder, change, weights=None):
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


def test_round_trip_is_exact(fitted, graphs, tmp_path):
    save_bundle(fitted, tmp_path / "a model")
    assert sorted(p.name for p in (tmp_path / "a model").iterdir()) == ["model.json", "model.safetensors"]
    again = load_bundle(tmp_path / "a model")
    for name in (
        "name model graph inputs scaling target unit trained_on train_range split seed best_epoch history warnings"
    ).split():
        assert getattr(again, name) == getattr(fitted, name), name
    assert again.weights.keys() == fitted.weights.keys()
    for name, value in fitted.weights.items():
        assert again.weights[name].dtype == value.dtype
        assert again.weights[name].tobytes() == value.tobytes()
    assert np.array_equal(predict(again, graphs), predict(fitted, graphs))
    assert (again.origin.room, again.origin.seed) == ("training", 4)
    assert dict(again.origin.inputs) == dict(fitted.origin.inputs)


def test_saving_twice_gives_the_same_bytes(fitted, tmp_path):
    for folder in ("one", "two"):
        save_bundle(fitted, tmp_path / folder)
    for name in ("model.json", "model.safetensors"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_the_description_can_be_read_without_us(fitted, tmp_path):
    save_bundle(fitted, tmp_path)
    document = json.loads((tmp_path / "model.json").read_text())
    assert document["schema"] == "phonograph-bundle-2"
    assert document["model"] == {
        "class": "GraphConvNet",
        "fields": {
            "convolutions": 2,
            "pooling": "max",
            "output": "linear",
            "hidden_channels": 8,
            "dropout": 0.1,
        },
    }
    assert (document["target"], document["unit"], document["graph"]["cutoff_A"]) == ("toy_eV", "eV", 5.5)
    assert document["split"]["test"] == list(fitted.split.test)


def unscaled(document):
    document["scaling"]["scale"] = None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda d: d.update(schema="phonograph-bundle-99"),
            "schema must be .phonograph-bundle-2. or .phonograph-bundle-1.",
        ),
        (lambda d: d["model"].update({"class": "os.system"}), "not a network of this program"),
        (lambda d: d["model"]["fields"].update(pooling="median"), "pooling must be one of"),
        (lambda d: d["model"]["fields"].update(layers=3), "missing or unknown entries: layers"),
        (lambda d: d["model"]["fields"].update(hidden_channels=16), "do not fit its network"),
        (lambda d: d["model"]["fields"].update(convolutions=3), "do not fit its network"),
        (lambda d: d["model"]["fields"].update(convolutions="2"), "convolutions must be"),
        (lambda d: d["graph"].update(cutoff_A=-1.0), "cutoff_A must be greater than 0"),
        (lambda d: d["inputs"].pop("elements"), "missing or unknown entries: elements"),
        (unscaled, "TargetScaling.scale must be"),
        (lambda d: d["split"].update(test=[]), "split does not match its hash"),
        (lambda d: d["history"]["rows"].append([1]), "every row of the history"),
        (lambda d: d.update(train_range=[1.0, 2.0, 3.0]), "train_range must be"),
        (lambda d: d.update(seed=True), "seed must be of type int"),
        (lambda d: d.pop("unit"), "missing or unknown entries: unit"),
        (lambda d: d.update(surprise=1), "missing or unknown entries: surprise"),
    ],
)
def test_bundles_that_do_not_hang_together_are_refused(fitted, tmp_path, change, words):
    save_bundle(fitted, tmp_path)
    rewrite(tmp_path, change)
    with pytest.raises(InputFileError, match=words) as caught:
        load_bundle(tmp_path)
    assert "\n" not in str(caught.value)


def test_wrong_tensors_are_refused(fitted, tmp_path):
    save_bundle(fitted, tmp_path)
    tensors = load((tmp_path / "model.safetensors").read_bytes())
    missing = {name: value for name, value in tensors.items() if name != "final.bias"}
    shaped = {**tensors, "final.bias": np.zeros(2, np.float32)}
    nan = {**tensors, "final.bias": np.full(1, np.nan, np.float32)}
    for wrong, words in (
        (missing, "do not fit its network.*final.bias"),
        ({**tensors, "extra": np.zeros(2, np.float32)}, "do not fit its network.*extra"),
        (shaped, "do not fit its network.*final.bias"),
        (nan, "'final.bias' are not finite"),
    ):
        rewrite(tmp_path, lambda d: None, save(wrong))
        with pytest.raises(InputFileError, match=words):
            load_bundle(tmp_path)
    rewrite(tmp_path, lambda d: None, b"\xff" * 200)
    with pytest.raises(InputFileError, match="not a safetensors file"):
        load_bundle(tmp_path)


def test_missing_files_are_refused(fitted, tmp_path):
    with pytest.raises(InputFileError, match="not found"):
        load_bundle(tmp_path)
    save_bundle(fitted, tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(InputFileError, match=r"model\.safetensors"):
        load_bundle(tmp_path)


@pytest.mark.parametrize("name", ["model.json", "model.safetensors"])
def test_a_changed_byte_is_always_noticed_or_harmless(fitted, tmp_path, name):
    save_bundle(fitted, tmp_path)
    whole = (tmp_path / name).read_bytes()
    random = stream(0, "flip", name)
    for _ in range(60):
        data = bytearray(whole)
        data[int(random.integers(len(data)))] ^= int(random.integers(1, 256))
        (tmp_path / name).write_bytes(bytes(data))
        try:
            again = load_bundle(tmp_path)
        except InputFileError:
            continue
        # White space between the entries of the JSON is the only thing that may change.
        assert name == "model.json"
        assert (again.split, again.inputs, again.scaling) == (fitted.split, fitted.inputs, fitted.scaling)


class Own(nn.Module):
    def __init__(self, features):
        super().__init__()
        self.layer = nn.Linear(features, 1)

    def forward(self, batch):
        return self.layer(batch.pool(batch.aggregate(batch.x), "mean")).squeeze(-1)


@dataclass(frozen=True)
class OwnModel:
    def build(self, features, seed):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return Own(features)


def test_a_network_of_ones_own_is_loaded_into_its_own_object(graphs, labels, split, tmp_path):
    fitted = fit(graphs, labels, split, OwnModel(), SETTINGS, target="toy_eV")
    save_bundle(fitted, tmp_path)
    again = load_bundle(tmp_path, model=OwnModel())
    assert np.array_equal(predict(again, graphs), predict(fitted, graphs))
    with pytest.raises(InputFileError, match=r"'OwnModel', not a network of this program; pass it"):
        load_bundle(tmp_path)
    with pytest.raises(InputFileError, match=r"holds OwnModel\(\); got GraphConvNet\(convolutions=2"):
        load_bundle(tmp_path, model=GraphConvNet())


def test_a_network_with_other_settings_is_refused_even_where_the_weights_fit(fitted, tmp_path):
    save_bundle(fitted, tmp_path)
    assert load_bundle(tmp_path, model=fitted.model).model == fitted.model
    with pytest.raises(InputFileError, match=r"pooling='max'.*got .*pooling='mean'"):
        load_bundle(tmp_path, model=replace(fitted.model, pooling="mean"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seed": -1}, "the seed must be at least 0 and below 2\\^64"),
        ({"seed": 2**64}, "the seed must be at least 0 and below 2\\^64"),
        ({"seed": 1.5}, "seed must be of type int"),
        ({"scaling": TargetScaling(kind="standard", shift=0.0, scale=float("inf"))}, "TargetScaling.scale must be"),
        ({"train_range": (0.0, 1e300)}, "train_range must be"),
        ({"best_epoch": 3}, "the best epoch must be one of the history"),
        ({"weights": {}}, "do not fit its network"),
        ({"origin": Origin(room="training", settings={"model": object()})}, "not JSON serializable"),
    ],
)
def test_what_could_not_be_read_again_is_not_written(fitted, tmp_path, changes, words):
    with pytest.raises(DataError, match=f"cannot be saved, because it could not be read again: .*{words}") as caught:
        save_bundle(replace(fitted, **changes), tmp_path / "new")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "new").exists()
