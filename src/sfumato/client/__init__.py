"""The trusted side: holds the prompt, the sampler and the pictures."""
