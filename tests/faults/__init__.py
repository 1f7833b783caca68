"""Faults, in numbers: `python -m tests.faults --seeds 50` breaks things at random and counts.

A *trial* is a kind of fault and a seed; all that is random in it comes from the seed. `trials` has
the kinds, `stage` what they are played on, `ledger` what must hold after each.
"""
