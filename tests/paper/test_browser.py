"""What a real browser makes of the page of the remade paper."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from phonograph.cli import main

pytestmark = pytest.mark.browser
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--enable-logging=stderr",
    "--v=0",
    "--virtual-time-budget=2000",
    "--dump-dom",
)


@pytest.mark.parametrize("width", [1366, 700])
def test_it_opens_quietly(chromium: str, folder: Path, width: int) -> None:
    assert main(["paper", "c.toml", "-o", "run", "--items", "s3,s9,s10", "-q"]) == 0
    page = (folder / "run" / "paper.html").as_uri()
    command = [chromium, *FLAGS, f"--window-size={width},1000", f"--user-data-dir={folder / 'profile'}", page]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert [line for line in done.stderr.splitlines() if "CONSOLE" in line] == []
    assert done.stdout.count("<figure") == 3
    assert done.stdout.count("<svg") > 10
