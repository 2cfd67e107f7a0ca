"""Evaluators of architectures: by a supernet's weights, by a short training alone, or by a caller's function."""
