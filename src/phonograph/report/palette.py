"""Colours that tell sets apart for every kind of colour vision, and stay with a set throughout the report.

Source: M. Okabe and K. Ito, Color Universal Design (2008), https://jfly.uni-koeln.de/color/ .
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

BLUE, VERMILLION, GREEN, ORANGE = "#0072B2", "#D55E00", "#009E73", "#E69F00"
SKY, PURPLE, GREY = "#56B4E9", "#CC79A7", "#7A8793"

_ORDER = (BLUE, VERMILLION, GREEN, ORANGE, SKY)
_COMBINED = "combined"

RAMP = ("#F3E9D2", "#F6D58B", "#F2B441", "#E08A1E", "#C65D0B", "#9A3A0C", "#6B1F12")
"""Importance from 0 to 1: light sand to dark brown-red, in even steps of lightness."""


def set_colours(names: Iterable[str]) -> Mapping[str, str]:
    """Return one colour per set in order of appearance; ``combined`` is always purple."""
    colours: dict[str, str] = {}
    taken = 0
    for name in dict.fromkeys(names):
        if name == _COMBINED:
            colours[name] = PURPLE
            continue
        colours[name] = _ORDER[taken % len(_ORDER)]
        taken += 1
    return colours


def ramp(value: float) -> str:
    """Return the colour of an importance in [0, 1], interpolated on :data:`RAMP`."""
    place = min(max(value, 0.0), 1.0) * (len(RAMP) - 1)
    left = min(int(place), len(RAMP) - 2)
    share = place - left
    mixed = (
        round((1 - share) * int(RAMP[left][at : at + 2], 16) + share * int(RAMP[left + 1][at : at + 2], 16))
        for at in (1, 3, 5)
    )
    return "#" + "".join(f"{part:02X}" for part in mixed)


def element_colour(atomic_number: int) -> str:
    """Return the colour of an element, the Jmol scheme that the field's viewers share."""
    from ase.data.colors import jmol_colors

    return "#" + "".join(f"{round(255 * float(part)):02X}" for part in jmol_colors[atomic_number])
