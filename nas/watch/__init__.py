"""What a person sees of a run while it runs: the live screen of a terminal, and scalars for TensorBoard."""
