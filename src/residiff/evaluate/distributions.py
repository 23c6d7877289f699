"""Scoring sets of pictures as wholes: how far what was generated lies from what is real.

No picture has a partner here. FID and KID compare the features of two folders; the Inception Score needs one alone.
"""
