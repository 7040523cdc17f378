"""The logs: lines on standard error that never wait."""
