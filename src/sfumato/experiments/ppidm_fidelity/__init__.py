"""PPIDM's fidelity study: its grid, its tables, its figures, and whether its trends hold."""
