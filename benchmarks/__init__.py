"""The benchmarks that ``make bench`` runs. Each part measures one thing and writes its section of ``results.md``."""
