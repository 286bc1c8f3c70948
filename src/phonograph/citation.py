"""What to cite for a run: the method, the libraries and the engines that entered its numbers."""

from __future__ import annotations

from collections.abc import Iterable

ALWAYS = (
    "Method: P. Benítez, C. López, E. Saucedo, T. Mizoguchi, C. Cazorla, Why Physics Still Matters: Improving Machine "
    "Learning Prediction of Material Properties With Phonon-Informed Datasets, Advanced Intelligent Discovery (2026), "
    "arXiv:2511.15222.",
    "Phonograph: the Phonograph developers, Phonograph 0.1 (2026), see CITATION.cff.",
)

WORKS = {
    "phonopy": "Phonons: A. Togo, J. Phys. Soc. Jpn. 92, 012001 (2023), doi:10.7566/JPSJ.92.012001.",
    "symfc": "Force-constant fits: A. Seko, A. Togo, Phys. Rev. B 110, 214302 (2024), doi:10.1103/PhysRevB.110.214302.",
    "self-consistent": "Self-consistent phonons: I. Errea, M. Calandra, F. Mauri, Phys. Rev. B 89, 064302 (2014), "
    "doi:10.1103/PhysRevB.89.064302.",
    "mode-projection": "Mode projection: A. Carreras, A. Togo, I. Tanaka, Comput. Phys. Commun. 221, 221 (2017), "
    "doi:10.1016/j.cpc.2017.08.017.",
    "regression": "Effective force constants: O. Hellman, P. Steneteg, I. A. Abrikosov, S. I. Simak, Phys. Rev. B 87, "
    "104111 (2013), doi:10.1103/PhysRevB.87.104111.",
    "zg": "Special displacements: M. Zacharias, F. Giustino, Phys. Rev. Research 2, 013357 (2020), "
    "doi:10.1103/PhysRevResearch.2.013357.",
    "sobol": "Sobol points: S. Joe, F. Y. Kuo, SIAM J. Sci. Comput. 30, 2635 (2008), doi:10.1137/070709359.",
    "debye": "Debye-model springs: N. Shulumba et al., Phys. Rev. B 95, 014302 (2017), doi:10.1103/PhysRevB.95.014302.",
    "mc-rattle": "Monte Carlo rattling: F. Eriksson, E. Fransson, P. Erhart, Adv. Theory Simul. 2, 1800184 (2019), "
    "doi:10.1002/adts.201800184.",
    "chgnet": "CHGNet: B. Deng et al., Nat. Mach. Intell. 5, 1031 (2023), doi:10.1038/s42256-023-00716-3.",
    "tblite": "GFN1-xTB: S. Grimme, C. Bannwarth, P. Shushkov, J. Chem. Theory Comput. 13, 1989 (2017), "
    "doi:10.1021/acs.jctc.7b00118.",
    "ase": "ASE: A. H. Larsen et al., J. Phys.: Condens. Matter 29, 273002 (2017), doi:10.1088/1361-648X/aa680e.",
    "emt": "EMT: K. W. Jacobsen, P. Stoltze, J. K. Nørskov, Surf. Sci. 366, 394 (1996), "
    "doi:10.1016/0039-6028(96)00816-3.",
    "graphconv": "GraphConv: C. Morris et al., AAAI 33, 4602 (2019), doi:10.1609/aaai.v33i01.33014602.",
    "torch": "PyTorch: A. Paszke et al., NeurIPS 32 (2019), arXiv:1912.01703.",
    "gnnexplainer": "GNNExplainer: R. Ying et al., NeurIPS 32 (2019), arXiv:1903.03894.",
    "3dmol": "3Dmol.js: N. Rego, D. Koes, Bioinformatics 31, 1322 (2015), doi:10.1093/bioinformatics/btu829.",
}
"""Key → reference."""


def works(keys: Iterable[str] = WORKS) -> tuple[str, ...]:
    """Return the references of ``keys`` in a fixed order, the method and this library first."""
    wanted = set(keys)
    return (*ALWAYS, *(text for key, text in WORKS.items() if key in wanted))
