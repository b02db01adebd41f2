"""What a run costs, counted before it: bytes, rounds, FLOPs, weights and modelled seconds, without weights."""
