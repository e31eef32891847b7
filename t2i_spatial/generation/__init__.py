"""Prompts to images with diffusers pipelines, one seed per image."""
