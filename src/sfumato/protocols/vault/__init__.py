"""``vault``: latents stored encrypted, and linear services on them. See README.md beside this file."""
