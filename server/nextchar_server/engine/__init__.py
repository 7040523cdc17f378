"""Continuous batching of streams. Knows ids and states, never text."""
