"""What ``make bench`` runs: each part measures one thing and gives its section of ``results.md``."""
