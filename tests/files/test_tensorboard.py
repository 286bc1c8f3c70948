"""Histories as event files, read back by TensorBoard itself."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from phonograph.cli import main

HEAD = "epoch,train_loss,validation_loss,learning_rate,gradient_norm,kept\n"
ROWS = "0,1.5,2.5,0.001,0.25,0\n1,0.75,1.25,0.001,0.125,1\n"


def write(folder: Path, text: str) -> None:
    folder.mkdir(parents=True)
    (folder / "history.csv").write_text(text)


def curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return {name: [(one.step, one.value) for one in events.Scalars(name)] for name in events.Tags()["scalars"]}


def test_tensorboard_reads_back_every_number(tmp_path, capsys):
    run = tmp_path / "run"
    write(run / "5_training" / "gap-seed0", HEAD + ROWS)
    write(run / "5_training" / "gap-seed1", HEAD + ROWS.replace("1.5", "3.5"))
    for _ in range(2):  # the second call replaces what the first wrote
        assert main(["tensorboard", str(run)]) == 0
    assert "wrote 2 histories" in capsys.readouterr().out
    found = curves(run / "tensorboard" / "gap-seed0")
    assert found["train_loss"] == [(0, 1.5), (1, 0.75)]
    assert found["validation_loss"] == [(0, 2.5), (1, 1.25)]
    assert found["gradient_norm"] == [(0, 0.25), (1, 0.125)]
    assert math.isclose(found["learning_rate"][1][1], 0.001, rel_tol=1e-6)
    assert found["kept"] == [(0, 0.0), (1, 1.0)]
    assert curves(run / "tensorboard" / "gap-seed1")["train_loss"][0] == (0, 3.5)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "has the columns none"),
        ("a,b\n1,2\n", "has the columns"),
        (HEAD + "0,1.5,x,0.001,0.25,0\n", "not a whole history"),
        (HEAD + "0,1.5\n", "not a whole history"),
    ],
)
def test_a_damaged_history_is_one_sentence(tmp_path, text, words, capsys):
    write(tmp_path / "run" / "net", text)
    assert main(["tensorboard", str(tmp_path / "run"), "-o", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err
    assert words in told
    assert told.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_folder_without_histories(tmp_path, capsys):
    assert main(["tensorboard", str(tmp_path)]) == 2
    assert "holds no trained network" in capsys.readouterr().err
