"""The servers that people write for such a model, with the same weights and the same protocol, to measure against."""
