"""The client library and command of nextchar."""
