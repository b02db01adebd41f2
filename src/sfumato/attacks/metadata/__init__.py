"""Attacks on sizes, counts and times, without a look at any number that was sent."""
