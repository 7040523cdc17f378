"""The judgement of generated text: what it copies, how varied it is, and how its characters are distributed."""
