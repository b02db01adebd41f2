"""HE-Diffusion: a cloud computes on ciphertexts. The pieces so far; see README.md."""
