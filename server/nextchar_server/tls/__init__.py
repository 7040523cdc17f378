"""TLS: the certificate of both ports, renewed while the server runs."""
