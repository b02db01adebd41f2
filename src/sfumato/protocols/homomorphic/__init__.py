"""HE-Diffusion: a cloud computes on ciphertexts. See README.md beside this file."""
