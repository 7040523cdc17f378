"""From a network's weights to one checked model file."""
