"""Room 8: the property as a function of temperature, with its error budget."""

from __future__ import annotations

from phonograph.thermal.curve import predict_thermal

__all__ = ["predict_thermal"]
