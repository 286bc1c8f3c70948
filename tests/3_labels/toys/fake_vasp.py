"""A stand-in for VASP: reads POSCAR, INCAR, KPOINTS and POTCAR of its folder, writes outputs in VASP's layout.

FAKE_VASP says how it behaves.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

mode = os.environ.get("FAKE_VASP", "ok")
with open(os.environ.get("FAKE_VASP_LOG", os.devnull), "a") as log:
    log.write(f"{os.getpid()} {Path.cwd().name}\n")
if mode == "hang":
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    time.sleep(600)

sys.path.insert(0, str(Path(__file__).parent))

from vasp_files import answer, eigenval, outcar, vasprun  # noqa: E402

from phonograph.files.structures import read_structure  # noqa: E402
from phonograph.labels.engines.vasp_input import read_incar  # noqa: E402


def main() -> int:
    crystal = read_structure("POSCAR")
    tags = {name: value for name, value in read_incar(Path("INCAR").read_text()).items() if name != "SYSTEM"}
    divisions = tuple(int(word) for word in Path("KPOINTS").read_text().splitlines()[3].split())
    titles = [line for line in Path("POTCAR").read_text().splitlines() if "TITEL" in line]
    assert len(titles) == len(set(crystal.symbols)), titles
    if mode == "crash":
        Path("OUTCAR").write_text(" vasp.6.3.0\n")
        return 139
    steps = int(tags["NELM"]) if mode == "stubborn" and tags["ALGO"] != "All" else 9
    planted = answer(crystal, divisions, int(tags["ISPIN"]))
    if mode == "foreign":
        tags["ENCUT"] = "300"
    xml = vasprun(crystal, tags, planted, steps=steps)
    if mode == "half":
        Path("vasprun.xml").write_text(xml[: len(xml) // 2])
        return 0
    Path("EIGENVAL").write_text(eigenval(crystal, planted))
    Path("OUTCAR").write_text(outcar(crystal, tags, planted, steps=steps, converged=steps < int(tags["NELM"])))
    Path("vasprun.xml").write_text(xml)
    return 0


if __name__ == "__main__":
    sys.exit(main())
