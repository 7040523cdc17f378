"""The baselines: servers as people usually write them, with the same weights and the same protocol."""
