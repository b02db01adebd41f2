"""ObCLIP: a cloud runs the first steps for a whole set of prompts and does not learn which one is meant."""
