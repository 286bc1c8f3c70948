"""The rules of the house, enforced."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from phonograph.cli import ROOM_COMMANDS
from phonograph.run_folder import STAGES

SOURCE = Path(__file__).resolve().parents[2] / "src" / "phonograph"
ROOMS = set(STAGES)
LEAVES = {
    "types",
    "units",
    "errors",
    "options",
    "streams",
    "atomic",
    "lattice",
    "translations",
    "plain_json",
    "series",
    "audit_checks",
    "band_edges",
    "database",
    "execution",
}

FILES = sorted(SOURCE.rglob("*.py"))


def first_parts(path: Path) -> set[str]:
    """Names of phonograph's own modules that a file imports, as first path components."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
            if node.module == "phonograph":
                names = [f"phonograph.{alias.name}" for alias in node.names]
        found |= {name.split(".")[1] for name in names if name.startswith("phonograph.")}
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_rooms_meet_only_through_types(path: Path) -> None:
    place = path.relative_to(SOURCE).parts
    imports = first_parts(path)
    if place[0] in ROOMS:
        allowed = LEAVES | {place[0]}
        if place[0] in ("training", "evaluation", "explanation", "thermal"):
            allowed |= {"models"}
        if place[0] == "labels":
            allowed |= {"files"}  # engines that are run through their files, and exports of the store
        assert imports <= allowed, f"{path.name} may not import {sorted(imports - allowed)}"
    elif place[0] == "models":
        assert imports <= LEAVES | {"models"}
    elif place[0] == "files":
        assert imports <= LEAVES | {"files", "models"}
    elif place[0] == "datasets":
        assert imports <= LEAVES | {"datasets", "files"}
    elif place[0] == "report":
        assert imports <= LEAVES | {"report"}
    elif place[0] == "jobs":
        assert imports <= LEAVES | {"jobs"}
    elif place[0].removesuffix(".py") in LEAVES:
        assert imports <= LEAVES


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_constants_have_one_home(path: Path) -> None:
    if path.name == "units.py":
        return
    digits = re.compile(r"8\.617\d|6\.582\d|1\.6021\d|1\.6605\d|0\.5291\d|27\.211\d|160\.217")
    hits = digits.findall(path.read_text(encoding="utf-8"))
    assert not hits, f"{path.name} types a physical constant: {hits}; take it from phonograph.units"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_files_and_functions_stay_readable(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    limit = 450
    assert len(text.splitlines()) <= limit, f"{path.name} has {len(text.splitlines())} lines"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            documented = ast.get_docstring(node) or ""
            assert length - len(documented.splitlines()) <= 62, f"{path.name}:{node.name} has {length} lines"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_nothing_that_can_run_foreign_code(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            assert not {alias.name for alias in node.names} & {"pickle", "marshal", "shelve", "dill"}
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in ("eval", "exec"), path.name
        if isinstance(node, ast.Call) and "subprocess" in ast.unparse(node.func):
            assert "shell" not in {keyword.arg for keyword in node.keywords}, f"{path.name} passes shell="


def test_rooms_commands_and_pages_are_one_list() -> None:
    assert list(ROOM_COMMANDS.values()) == list(STAGES)
    docs = SOURCE.parents[1] / "docs"
    for number, room in enumerate(STAGES, 1):
        assert (SOURCE / room / "__init__.py").is_file()
        assert (docs / f"{number}_{room}.md").is_file()


def test_import_is_light() -> None:
    code = (
        "import sys, time; start = time.perf_counter(); import phonograph; "
        "print(time.perf_counter() - start); "
        "print(sorted({'torch', 'ase', 'phonopy', 'numpy', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, heavy = done.stdout.splitlines()
    assert float(seconds) < 0.5
    assert heavy == "[]"


def test_every_public_name_exists_and_is_documented() -> None:
    import phonograph

    for name in phonograph.__all__:
        value = getattr(phonograph, name)
        if name != "__version__":
            assert value.__doc__, f"pg.{name} has no docstring"
