"""From weights to one checked model file."""
