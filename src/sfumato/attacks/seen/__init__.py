"""What the transcripts of each protocol hold, in the model's terms."""
