"""The only home of physical constants and unit factors (CODATA 2022; SI 2019 exact values).

Inside the library: Å, eV, amu, THz (ordinary, not angular), K, GPa.  Lattice vectors are rows.
Source: Mohr et al., CODATA 2022, https://physics.nist.gov/cuu/Constants/ .
"""

from __future__ import annotations

import math

BOLTZMANN_EV_PER_K = 8.617333262145179e-5
HBAR_EV_S = 6.582119569509067e-16
ELEMENTARY_CHARGE_C = 1.602176634e-19
AVOGADRO_PER_MOL = 6.02214076e23
ATOMIC_MASS_KG = 1.66053906892e-27
BOHR_A = 0.529177210544
HARTREE_EV = 27.211386245981
EV_PER_A3_IN_GPA = 160.2176634

ANGULAR_PER_SQRT_EV_PER_A2_AMU = math.sqrt(ELEMENTARY_CHARGE_C / ATOMIC_MASS_KG) * 1.0e10
"""rad/s per √(eV Å⁻² amu⁻¹): turns √(eigenvalue of the dynamical matrix) into an angular frequency."""

THZ_PER_SQRT_EV_PER_A2_AMU = ANGULAR_PER_SQRT_EV_PER_A2_AMU / (2.0 * math.pi) * 1.0e-12
"""THz per √(eV Å⁻² amu⁻¹)."""

A_PER_PS = ANGULAR_PER_SQRT_EV_PER_A2_AMU * 1.0e-12
"""Å/ps per √(eV/amu), ASE's unit of velocity."""

EV_PER_THZ = 2.0 * math.pi * 1.0e12 * HBAR_EV_S
"""hν in eV for ν = 1 THz."""

AMU_A2_PER_EV_S2 = ELEMENTARY_CHARGE_C / ATOMIC_MASS_KG * 1.0e20
"""amu Å² per eV s²: turns ħ/ω (eV s²) into a mode variance in amu Å²."""

J_PER_MOL_PER_EV = ELEMENTARY_CHARGE_C * AVOGADRO_PER_MOL
"""J/mol per eV."""
