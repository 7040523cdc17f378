"""From ids to weights: the recipe, the network, the training loop and its evaluation."""
