"""The pipeline's steps: each loads a room's finished result from the run folder, or makes and saves it."""
