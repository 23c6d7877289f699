"""The web page: everything that the command line does to pictures, for people with a browser."""
