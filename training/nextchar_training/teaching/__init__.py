"""Teachers: models that read a training text once, so that a network can learn their distributions."""
