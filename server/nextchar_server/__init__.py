"""The gRPC server that streams text from a model file."""
