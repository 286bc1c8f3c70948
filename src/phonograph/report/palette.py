"""Colours that tell sets apart for every kind of colour vision, and stay with a set throughout the report.

Source: M. Okabe and K. Ito, Color Universal Design (2008), https://jfly.uni-koeln.de/color/ .
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

BLUE, VERMILLION, GREEN, ORANGE = "#0072B2", "#D55E00", "#009E73", "#E69F00"
SKY, PURPLE, GREY = "#56B4E9", "#CC79A7", "#7A8793"

_FIXED = {"phonon": BLUE, "random": VERMILLION, "combined": PURPLE}
_OTHERS = (GREEN, ORANGE, SKY)

RAMP = ("#F3E9D2", "#F6D58B", "#F2B441", "#E08A1E", "#C65D0B", "#9A3A0C", "#6B1F12")
"""Importance from 0 to 1: light sand to dark brown-red, in even steps of lightness."""


def set_colours(names: Iterable[str]) -> Mapping[str, str]:
    """Return one colour per set: ``phonon``, ``random`` and ``combined`` have their own, others by appearance."""
    unique = list(dict.fromkeys(names))
    free = [*_OTHERS, *(colour for name, colour in _FIXED.items() if name not in unique)]
    others = [name for name in unique if name not in _FIXED]
    taken = {name: free[place % len(free)] for place, name in enumerate(others)}
    return {name: _FIXED.get(name) or taken[name] for name in unique}


def species_colours(symbols: Iterable[str]) -> Mapping[str, str]:
    """Return one colour per species, by first appearance; apart from the blue and grey of spectra."""
    colours = (VERMILLION, GREEN, ORANGE, PURPLE, SKY)
    return {symbol: colours[place % len(colours)] for place, symbol in enumerate(dict.fromkeys(symbols))}


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
