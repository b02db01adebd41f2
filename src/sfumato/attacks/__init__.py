"""What someone who watches a cloud can learn: attacks on what crosses to it, and what they are tried on."""
