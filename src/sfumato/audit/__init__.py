"""Judges what attacks guess, against what only the client knew."""
