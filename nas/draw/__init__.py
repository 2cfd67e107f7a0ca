"""Drawings of architectures: one layout, written as SVG text in milliseconds, or by a plotting library as a picture."""
