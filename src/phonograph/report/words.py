"""How numbers, units, formulas and property names are written in the report."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

from phonograph.report.markup import Markup, join, tag
from phonograph.types import PROPERTY_UNITS

PROPERTY_NAMES = {
    "energy_eV_per_atom": "energy per atom",
    "band_gap_eV": "band gap",
    "vbm_eV": "valence-band maximum",
    "cbm_eV": "conduction-band minimum",
    "vbm_mean_eV": "mean energy of the valence-band top",
    "cbm_mean_eV": "mean energy of the conduction-band bottom",
    "direct_gap_eV": "direct band gap",
    "fermi_level_eV": "Fermi level",
    "total_magnetic_moment_muB": "total magnetic moment",
    "hydrostatic_stress_GPa": "hydrostatic stress",
}
"""Words for the properties of :data:`phonograph.types.PROPERTY_UNITS`."""

PROPERTY_SYMBOLS = {"energy_eV_per_atom": "E", "band_gap_eV": "E_g", "vbm_eV": "E_v", "cbm_eV": "E_c"}
NOT_KNOWN = "–"


def property_name(name: str) -> str:
    """Return a property in words: ``band_gap_eV`` is the band gap."""
    return PROPERTY_NAMES.get(name, name)


def property_symbol(name: str) -> Markup:
    """Return a property's symbol with its subscript, or its name in words."""
    symbol = PROPERTY_SYMBOLS.get(name)
    if symbol is None:
        return join(property_name(name))
    letter, _, index = symbol.partition("_")
    return join(tag("i", letter), tag("sub", index) if index else None)


def axis_label(name: str, unit: str) -> str:
    """Return an axis label with its unit."""
    unit = unit or PROPERTY_UNITS.get(name, "")
    return f"{property_name(name)} ({unit})" if unit else property_name(name)


def sentence_case(words: str) -> str:
    """Return ``words`` with a capital first letter."""
    return words[:1].upper() + words[1:]


def number(value: float, digits: int = 3) -> str:
    """Return ``value`` with ``digits`` significant digits, a true minus sign and no exponent where it reads well."""
    if value is None or not math.isfinite(value):
        return NOT_KNOWN
    if value == 0:
        return "0"
    size = math.floor(math.log10(abs(value)))
    if size < -4 or size > 6:
        mantissa, _, exponent = f"{value:.{digits - 1}e}".partition("e")
        return _minus(f"{mantissa}·10{superscript(int(exponent))}")
    return _minus(f"{value:.{max(digits - 1 - size, 0)}f}")


def fixed(value: float, decimals: int) -> str:
    """Return ``value`` with a fixed number of decimals and a true minus sign; a dash where undefined."""
    if value is None or not math.isfinite(value):
        return NOT_KNOWN
    words = f"{value:.{decimals}f}"
    return _minus(words.lstrip("-") if float(words) == 0 else words)


def decimals_of(error: float) -> int:
    """Return how many decimals show ``error``: two significant digits up to 354, else one (Particle Data Group)."""
    if not (math.isfinite(error) and error > 0):
        return 3
    size = math.floor(math.log10(error))
    leading = round(error / 10.0 ** (size - 2))
    if leading >= 950:
        return max(-size, 0)
    return max((1 if leading <= 354 else 0) - size, 0)


def plus_minus(value: float, error: float) -> str:
    """Return ``value ± error``, both with the decimals that the error deserves; the value alone without an error."""
    if not (math.isfinite(error) and error > 0):
        return number(value)
    places = decimals_of(error)
    return f"{fixed(value, places)} ± {fixed(error, places)}"


def percent(share: float) -> str:
    """Return a share as a percentage without false precision."""
    if not math.isfinite(share):
        return NOT_KNOWN
    return f"{fixed(100 * share, 0 if abs(share) >= 0.1 or share == 0 else 1)} %"


def error_unit(unit: str, values: Iterable[float]) -> tuple[float, str]:
    """Return (factor, unit) in which errors read well: meV instead of eV where all are below 0.5 eV."""
    finite = [abs(value) for value in values if math.isfinite(value)]
    if unit.startswith("eV") and finite and max(finite) < 0.5:
        return 1000.0, "m" + unit
    return 1.0, unit


def _minus(words: str) -> str:
    return words.replace("-", "\u2212")


def superscript(value: int) -> str:
    """Return an integer in superscript digits."""
    return str(value).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def plural(count: int, noun: str, many: str | None = None) -> str:
    """Return the count with its noun, for example ``3 seeds``."""
    return f"{count:,} {noun if count == 1 else many or noun + 's'}".replace(",", "\u202f")


def listed(items: Iterable[str]) -> str:
    """Return ``a, b and c``."""
    names = list(items)
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"


def pair_words(pair: str) -> str:
    """Return a species pair with an en dash: ``Ag-S`` is Ag–S."""
    return pair.replace("-", "\u2013")


def formula_markup(formula: str) -> Markup:
    """Return a chemical formula with its counts as subscripts."""
    parts = re.split(r"(\d+)", formula)
    return join(*(tag("sub", part) if part.isdigit() else part for part in parts))


def space_group_markup(symbol: str) -> Markup:
    """Return a Hermann–Mauguin symbol with overlined rotoinversions: ``Pm-3m`` is written with a bar over the 3."""
    parts = re.split(r"-(\d)", symbol)
    return tag("i", *(tag("span", p, class_="over") if place % 2 else p for place, p in enumerate(parts)))


def point_label(label: str) -> str:
    """Return the name of a point of the Brillouin zone as it is printed: GAMMA is Γ."""
    plain = label.replace("$", "").replace("\\mathrm", "").replace("{", "").replace("}", "").strip()
    return {"GAMMA": "Γ", "\\Gamma": "Γ", "Gamma": "Γ", "G": "Γ"}.get(plain, plain.replace("_", ""))
