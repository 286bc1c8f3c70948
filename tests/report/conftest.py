"""The made-up run that the report is tested on lives beside the tests."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from make_material import make_material

from phonograph.report import ReportMaterial, render_report


@pytest.fixture(scope="session")
def material() -> ReportMaterial:
    """A complete run on cubic Ag3SBr, 4 sets of 75 configurations."""
    return make_material()


@pytest.fixture(scope="session")
def page(material: ReportMaterial) -> str:
    """The report of the complete run."""
    return render_report(material)
