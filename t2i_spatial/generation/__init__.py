"""Images from text with any diffusers pipeline, one seed per image."""

from t2i_spatial.generation.generator import Generator, load_generator

__all__ = ["Generator", "load_generator"]
