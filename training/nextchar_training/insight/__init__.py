"""Pictures of the inside of a trained network."""
