"""Results on disk: the same bits back, the columns others script against, and one sentence for a broken file."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from phonograph.errors import InputFileError
from phonograph.evaluation import cross_test
from phonograph.files.results import load_evaluation, load_study, save_evaluation, save_study
from phonograph.types import Evaluation, Origin, Study, StudyRow

METRICS = "target,unit,model,trained_on,tested_on,split,seed,scope,n,mae,rmse,r2,pearson_r2"


@pytest.fixture(scope="module")
def judged(world) -> Evaluation:
    return cross_test(world.fits, world.collections, world.labels)


@pytest.fixture
def saved(judged, tmp_path: Path) -> Path:
    save_evaluation(judged, tmp_path)
    return tmp_path


def test_round_trip_is_bitwise(judged, saved: Path) -> None:
    again = load_evaluation(saved)
    assert repr(again.metrics) == repr(judged.metrics)
    assert repr(again.summary) == repr(judged.summary)
    assert repr(again.intervals) == repr(judged.intervals)
    assert again.intervals
    assert again.warnings == judged.warnings
    assert dict(again.origin.versions) == dict(judged.origin.versions)
    assert again.origin.settings["models"] == judged.origin.settings["models"]
    for a, b in zip(again.predictions, judged.predictions, strict=True):
        assert (a.model, a.tested_on, a.split, a.sample_ids) == (b.model, b.tested_on, b.split, b.sample_ids)
        assert np.array_equal(a.truth, b.truth)
        assert np.array_equal(a.prediction, b.prediction)


def test_columns_are_those_that_others_script_against(saved: Path) -> None:
    assert (saved / "metrics.csv").read_text().splitlines()[0] == METRICS
    with (saved / "metrics.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["scope"] for row in rows} == {"all", "in_range", "out_of_range"}
    assert all(float(row["mae"]) >= 0 for row in rows if row["n"] != "0")
    assert all(row["mae"] == "nan" for row in rows if row["n"] == "0")


def test_saving_again_gives_the_same_bytes(judged, saved: Path, tmp_path: Path) -> None:
    save_evaluation(load_evaluation(saved), tmp_path / "again")
    for name in ("metrics.csv", "predictions.csv", "summary.csv", "intervals.csv", "evaluation.json"):
        assert (saved / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("metrics.csv", b"", "metrics.csv: the header must be target,unit"),
        ("metrics.csv", b"a,b\n1,2\n", "got a,b"),
        ("metrics.csv", (METRICS + "\n1,2\n").encode(), "metrics.csv line 2: expected 13 cells; got 2"),
        ("metrics.csv", (METRICS + "\nt,eV,m,a,b,test,zero,all,1,1,1,1,1\n").encode(), "seed must be a whole number"),
        (
            "metrics.csv",
            (METRICS + "\nt,eV,m,a,b,test,0,all,1,wide,1,1,1\n").encode(),
            "mae must be a number; got 'wide'",
        ),
        ("metrics.csv", (METRICS + f"\nt,eV,m,a,b,test,{10**30},all,1,1,1,1,1\n").encode(), "seed must be a whole"),
        ("metrics.csv", b"\xff\xfe\x00", "is not a CSV table in UTF-8"),
        ("metrics.csv", (METRICS + '\n"t,eV\n').encode(), "is not a CSV table"),
        ("evaluation.json", b"{", "evaluation.json is not JSON"),
        ("evaluation.json", b"\xff", "is not JSON in UTF-8"),
        ("evaluation.json", b"[" * 100_000, "is not JSON"),
        ("evaluation.json", b"[]", "the schema must be 'phonograph.evaluation/1'; got 'list'"),
        ("evaluation.json", b'{"schema": "other/1"}', "got 'other/1'"),
        ("evaluation.json", b'{"schema": "phonograph.evaluation/1"}', "warnings must be of type list"),
        (
            "evaluation.json",
            b'{"schema": "phonograph.evaluation/1", "warnings": [1], "origin": {}}',
            "warnings must be a list of sentences",
        ),
        (
            "evaluation.json",
            b'{"schema": "phonograph.evaluation/1", "warnings": [], "origin": {}}',
            "room must be of type str",
        ),
    ],
)
def test_broken_files_are_one_sentence(saved: Path, name: str, content: bytes, words: str) -> None:
    (saved / name).write_bytes(content)
    with pytest.raises(InputFileError) as caught:
        load_evaluation(saved)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value).strip()
    assert str(saved) in str(caught.value)


def test_undefined_predictions_are_refused(saved: Path) -> None:
    lines = (saved / "predictions.csv").read_text().splitlines()
    lines[1] = ",".join([*lines[1].split(",")[:-1], "nan"])
    (saved / "predictions.csv").write_text("\n".join(lines) + "\n")
    with pytest.raises(InputFileError, match=r"predictions\.csv: prediction must be finite"):
        load_evaluation(saved)


@pytest.mark.parametrize("name", ["metrics.csv", "predictions.csv", "summary.csv", "evaluation.json"])
def test_a_missing_file_is_one_sentence(saved: Path, name: str) -> None:
    (saved / name).unlink()
    with pytest.raises(InputFileError, match=f"{name} not found"):
        load_evaluation(saved)


def test_an_evaluation_of_the_first_versions_has_no_intervals(judged, saved: Path) -> None:
    (saved / "intervals.csv").unlink()
    again = load_evaluation(saved)
    assert again.intervals == ()
    assert repr(again.summary) == repr(judged.summary)


def test_names_that_need_quoting_survive(tmp_path: Path) -> None:
    row = StudyRow(
        rank=1,
        name='a,"b"\nc',
        architecture="2conv-max-sigmoid-h64",
        target="band_gap_eV",
        seed=0,
        validation_mae=0.1 + 0.2,
        validation_r2=float("nan"),
        best_epoch=3,
        parameters=10,
        seconds=1e-300,
    )
    study = Study(
        rows=(row,), warnings=("Å → ħω",), origin=Origin(room="training", settings={"x": float("nan")}, seed=1)
    )
    save_study(study, tmp_path)
    again = load_study(tmp_path)
    assert repr(again.rows) == repr(study.rows)
    assert again.warnings == study.warnings
    assert again.origin.seed == 1
    assert json.loads((tmp_path / "study.json").read_text())["origin"]["settings"] == {"x": None}
