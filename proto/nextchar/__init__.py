"""The nextchar protocol packages, generated from ``proto/nextchar``."""
