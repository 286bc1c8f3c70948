"""The report: figures and one self-contained HTML page, made from results only."""

from __future__ import annotations

from phonograph.report.material import ReportMaterial
from phonograph.report.page import render_report, write_report

__all__ = ["ReportMaterial", "render_report", "write_report"]
