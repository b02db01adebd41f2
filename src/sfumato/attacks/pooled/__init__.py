"""Attacks on several runs of one user."""
