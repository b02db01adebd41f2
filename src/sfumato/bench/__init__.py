"""Speed and traffic: what a run costs, counted before it or measured on it."""
