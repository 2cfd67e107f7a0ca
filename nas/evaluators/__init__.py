"""What judges an architecture: a supernet's weights, a short training alone, or a caller's own function."""
