"""Constraints: which texts a request allows, as an automaton over the ids of an alphabet.

    pattern ─► syntax ─► nfa ─► dfa ─► lifting ─► automaton
                           │      │       │
                       charset  minimal  spellings (of the alphabet)

A caller's pattern is an attack until proven otherwise: every stage counts its work, and refuses an
expression that takes too much.
"""
