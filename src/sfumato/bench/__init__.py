"""Speed, memory and fidelity, measured, as ratios to a baseline in the same run."""
