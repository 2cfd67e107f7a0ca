"""Weights of published networks by name: where they are, how they are found, and the networks that have them."""
