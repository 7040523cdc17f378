"""The load generator behind ``nextchar bench``."""
