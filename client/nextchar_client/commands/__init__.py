"""The command ``nextchar``: one module per verb."""
