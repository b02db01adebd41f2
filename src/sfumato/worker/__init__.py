"""One cloud: a service that computes for clients it does not know."""
