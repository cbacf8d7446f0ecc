"""Exact fusion: rewrites of a network that keep its function and cost less to run."""
