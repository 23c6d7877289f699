"""Which residiff this is: in a module of its own, so that every room may ask."""

VERSION = "0.1.0"
