"""The feature-inversion paper's tables, on targets and a model that fit a desk."""
