"""One training run: its folder, its checkpoints, its report, and its view on a terminal."""
