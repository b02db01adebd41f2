"""Mathematics of the protocols that encrypt; no parties, no network."""
