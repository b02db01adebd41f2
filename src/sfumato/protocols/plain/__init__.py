"""``plain``: the unprotected baseline. See README.md beside this file."""
