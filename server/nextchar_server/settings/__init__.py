"""The settings: options, variables and the configuration file, checked once."""
