"""The judgement of generated text: its copies, its variety, and the distribution of its characters."""
