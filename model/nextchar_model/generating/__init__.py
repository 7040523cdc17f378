"""The parts of ``generator``: which texts to generate, how, in which rows, and where they end."""
