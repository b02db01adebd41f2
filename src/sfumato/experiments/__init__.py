"""The papers' tables as sweeps that can be stopped, resumed and shared out."""
