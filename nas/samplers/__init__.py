"""Optuna samplers that propose only what a budget admits, and nothing that the study has seen. One file each."""
