"""Attacks on the prompt: its words, and which of several texts it is."""
