"""Mistakes on the command line: one sentence that names the command and what to do, exit code 2."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from phonograph.cli import main
from phonograph.doctor import examine

ROOT = Path(__file__).resolve().parents[2]

MISTAKES = {
    "label my.toml -o r --retry-faild": "label: unknown option --retry-faild; did you mean '--retry-failed'?",
    "label my.toml -o r --s": "label: ambiguous option: --s could match --set, --status",
    "doctor --quiet": "doctor: unknown option --quiet; known here: --help, -h",
    "export r -o x.csv --format csv": "export: unknown option --format; known here: --engine, ",
    "--quiet doctor": "unknown option --quiet; known here: --help, --version",
    "cite now": "cite: 'now' is one argument too many; see phonograph cite --help",
    "lable my.toml": "invalid choice: 'lable' (choose from ",
    "label": "label: the following arguments are required: CONFIG.toml, -o/--output; see phonograph label --help",
    "noise my.toml -o r -n x": "noise: argument -n: invalid int value: 'x'; see phonograph noise --help",
    "init": "init: the following arguments are required: STRUCTURE",
    "init nowhere": "nowhere does not exist; check the path",
    "init /tmp": "/tmp is a folder; expected a file",
    "predict": "predict: the following arguments are required: BUNDLE… STRUCTURES…",
    "label --retry-failed cu.toml -o r": "cu.toml is no class of failure; write CONFIG.toml before this option",
    "study my.toml -o r --retry-failed timeout": "study: 'timeout' is one argument too many",
    "label --retry-failed timeout cu.toml -o r": "cu.toml is no class of failure",
}


@pytest.mark.parametrize(("command", "words"), MISTAKES.items(), ids=MISTAKES)
def test_a_mistake_is_one_sentence(command: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command.split()) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("phonograph: ")
    assert words in said.err
    assert said.err.count("\n") == 1


def test_help_is_no_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["label", "--help"])
    assert ended.value.code == 0
    assert "--retry-failed" in capsys.readouterr().out
    assert main([]) == 0
    assert "COMMAND" in capsys.readouterr().out


def test_the_doctor_looks_for_every_extra_and_for_the_data_of_engines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [name for key, names in project["optional-dependencies"].items() if key != "test" for name in names]
    monkeypatch.setenv("CP2K_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("ESPRESSO_PSEUDO", str(tmp_path / "missing"))
    findings = {finding.name: finding for finding in examine()}
    assert {re.split("[<>=]", name)[0] for name in extras} <= findings.keys()
    assert findings["CP2K data"].version == str(tmp_path)
    assert not findings["pseudopotentials"].found
    assert "quantum-espresso-data" in findings["pseudopotentials"].remedy
