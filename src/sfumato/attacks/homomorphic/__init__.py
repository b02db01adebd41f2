"""Attacks on runs of ``homomorphic``."""
