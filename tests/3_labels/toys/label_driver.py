"""A labelling process to be killed: label_driver.py STORE N SECONDS [WORKERS [BYTES_LIMIT [program]]]."""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path

from label_toys import ProgramLabeller, copper

from phonograph.errors import UserError
from phonograph.files.labels import save_labels
from phonograph.labels import AseLabeller, label


def main(store: str, n: str, seconds: str, workers: str = "2", limit: str = "", kind: str = "") -> int:
    os.environ["LABEL_TOY_SECONDS"] = seconds
    if limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
    toy = AseLabeller(factory="label_toys:Toy", name="toy", version="1", provides=("hydrostatic_stress_GPa",))
    engines = [ProgramLabeller()] if kind == "program" else [energy_only(), toy]
    try:
        labels = label([copper(int(n))], engines, store, workers=int(workers), progress=tell)
    except UserError as error:
        sys.stdout.write(f"SENTENCE {error}\n")
        return 2
    save_labels(labels, Path(store).with_suffix(".csv"))
    return 0


def tell(what: str, done: int, total: int) -> None:
    sys.stdout.write(f"{what} {done} {total}\n")
    sys.stdout.flush()


def energy_only() -> AseLabeller:
    return AseLabeller(factory="ase.calculators.emt:EMT", name="ase", version="EMT", provides=("energy_eV_per_atom",))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
