"""``layer-split``: PPIDM. See README.md beside this file."""
