"""Images in and out, procedural clean images, degradations and paired data."""
