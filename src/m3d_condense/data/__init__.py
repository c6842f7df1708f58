"""Labelled images from any source, as 8-bit tensors."""
