"""Access: who calls, by which credential, and how much each caller may have."""
