"""Diffusion models: finding and loading them, sampling, where they may be cut, and what they cost."""
