"""One training run: its folder, its checkpoints, and what it shows while it runs."""
