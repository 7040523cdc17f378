"""The gRPC side: requests, responses, statuses and the service itself."""
