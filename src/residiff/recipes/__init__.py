"""Preset recipes, one TOML file each."""
