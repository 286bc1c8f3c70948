"""Does the renormalisation converge to the same answer from every seed, and where is the crystal not stable?

python benchmarks/renormalisation.py --lattices 4.90 4.793 --seeds 0 1 2 --temperature 300

Prints one line per lattice and seed: rounds, forces, converged, lowest commensurate mode with its jackknife error,
free energy.  Ag3SBr, CHGNet, 2×2×2.  One run takes about half a minute to two minutes on an idle core.
"""

from __future__ import annotations

import argparse
import time

import phonograph as pg
from phonograph.testing import cubic_antiperovskite


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lattices", type=float, nargs="+", default=[4.90, 4.793])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--temperature", type=float, default=300.0)
    parser.add_argument("--pairs", type=int, default=pg.Renormalisation().pairs_per_round)
    options = parser.parse_args()
    settings = pg.Renormalisation(temperature_K=options.temperature, pairs_per_round=options.pairs)
    print(f"{'a (Å)':>6} {'seed':>4} {'rounds':>6} {'forces':>6} {'converged':>9} {'lowest (THz)':>14} {'s':>6}")
    for lattice in options.lattices:
        for seed in options.seeds:
            started = time.perf_counter()
            phonons = pg.compute_phonons(
                cubic_antiperovskite(lattice), pg.CalculatorForces(), [2, 2, 2], renormalisation=settings, seed=seed
            )
            lowest = f"{phonons.frequencies_THz[0]:.2f} ± {phonons.frequency_error_THz[0]:.2f}"
            rounds = len(phonons.rounds)
            forces = 2 * options.pairs * rounds
            seconds = time.perf_counter() - started
            print(
                f"{lattice:6.3f} {seed:4d} {rounds:6d} {forces:6d} {phonons.converged!s:>9} {lowest:>14} {seconds:6.0f}"
            )


if __name__ == "__main__":
    main()
