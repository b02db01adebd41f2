"""Attacks that learn from runs of the attacker's own what features of a transcript say."""
