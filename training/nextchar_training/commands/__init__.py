"""The command ``nextchar-train``: one module per verb."""
