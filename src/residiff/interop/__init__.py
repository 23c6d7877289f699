"""Doors to other libraries: diffusers' schedulers and pipelines, and the Hugging Face hub."""
