"""Curves of trainings and searches: what is written, and the trackers that take it, one file each."""
