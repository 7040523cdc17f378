"""The baselines: servers as people usually write them, with the same weights.

Two are plain gRPC servers that step each text by itself, ``eager`` and ``stepped``. Two are of frameworks that batch,
``with_mosec`` and ``with_litserve``; ``rows`` is the loop inside them, and ``stepping`` its models.
"""
