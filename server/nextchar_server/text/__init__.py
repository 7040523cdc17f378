"""Text: from ids to characters, and how far they were sent."""
