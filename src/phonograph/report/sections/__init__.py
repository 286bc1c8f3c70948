"""The parts of the report, one module each: a function of the material that returns a section."""
