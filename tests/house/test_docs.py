"""What the documentation says is what the code does."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "docs").glob("*.md"))
CODE = re.compile(r"```python\n(.*?)```", re.DOTALL)


@pytest.mark.filterwarnings("default")
def test_the_examples_of_extending_run() -> None:
    page = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    blocks = CODE.findall(page)
    assert len(blocks) == 8
    space: dict[str, object] = {"__name__": "extending"}
    sys.modules["extending"] = type(sys)("extending")
    for block in blocks:
        exec(compile(block, "docs/extending.md", "exec"), space)


@pytest.mark.slow
def test_the_examples_of_the_eight_rooms_build_on_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = "0.0 0.5 0.5\n0.5 0.0 0.5\n0.5 0.5 0.0\n"
    Path("POSCAR").write_text(f"rock salt\n5.64\n{rows}Na Cl\n1 1\nDirect\n0 0 0\n0.5 0.5 0.5\n")
    space: dict[str, object] = {}
    for page in sorted((ROOT / "docs").glob("[1-8]_*.md")):
        for block in CODE.findall(page.read_text(encoding="utf-8")):
            exec(compile(block.replace("n=100", "n=20"), page.name, "exec"), space)
    assert {"phonons", "labels", "fitted", "evaluation", "explanation", "curve"} <= space.keys()
    assert Path("bundle", "model.safetensors").is_file()


def test_option_tables_are_current() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "options.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{done.stdout}{done.stderr}; run: python docs/options.py"


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_readme_names_every_command() -> None:
    from phonograph.cli import ROOM_COMMANDS

    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    own = ("run", "init", "study", "learning-curve", "paper", "noise", "export", "dataset", "doctor", "cite")
    for command in (*ROOM_COMMANDS, *own):
        assert f"phonograph {command}" in readme, command


def test_one_version() -> None:
    import tomllib

    import phonograph

    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert phonograph.__version__ == version
    assert f"version: {version}" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
