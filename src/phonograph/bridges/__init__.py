"""Ways to other people's programs: an ASE calculator, and graphs for torch-geometric."""
