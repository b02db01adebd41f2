"""Attacks on the picture of a recorded run, of any protocol whose transcripts can be read."""
