"""What random numbers are drawn for. A generator is made of (seed, purpose, index), and no two purposes share one.

So a draw depends on its number alone: not on what was drawn before it, nor on the process that draws it.
"""

# A procedural pair: which pictures, crop, turn, and its degradation. The index is the pair's number
PROCEDURAL = 1
# The order of a set's clean pictures. The index is the epoch
ORDER = 2
# Crop and turn of a pair of a set. The index is the pair's number
CROP = 3
# An update's noise and times. The index is the update
UPDATE = 4
# The degradation of a picture that is written to a file. The index is the picture
WRITTEN = 5
# The order of what unpaired clean pictures are laid beside. The index is the epoch
PARTNER = 6
# What the network's own layers draw in an update (dropout). The indices are the update and the first pair's place
LAYERS = 7
# The degradation, on the fly, of a set's pictures. The index is the pair's number
DEGRADATION = 8
# The same of those that are held out. The index is the picture's place
HELD_OUT = 9
# Which of several sets a pair is from. The index is the block of numbers
MIXTURE = 10
# Seeds of a loader's workers, which nothing here draws from. There is no index
LOADER = 11
# The noise by which the loss on held-out pairs is computed. The index is the first pair's place
VALIDATION = 12
# The seeds of the sources of a mixture. The index is the source
SOURCE = 13
