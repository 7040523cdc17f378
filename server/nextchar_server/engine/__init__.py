"""Continuous batching of streams. The engine knows ids and states, never text and never the protocol."""
