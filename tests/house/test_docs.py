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
    assert len(blocks) == 4
    space: dict[str, object] = {"__name__": "extending"}
    sys.modules["extending"] = type(sys)("extending")
    for block in blocks:
        exec(compile(block, "docs/extending.md", "exec"), space)


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
    for command in (*ROOM_COMMANDS, "run", "init", "doctor", "cite"):
        assert f"phonograph {command}" in readme, command


def test_one_version() -> None:
    import tomllib

    import phonograph

    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert phonograph.__version__ == version
    assert f"version: {version}" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
