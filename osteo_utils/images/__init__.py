"""The film: decoded, stored, listed in the manifest, and as the square that a model sees.

In: files of a data set.
Out: `manifest.csv`, `images.npy`, views of films as uint8 arrays.
"""
