"""Bone masks of films, by a U-Net or by edges, with plausibility checks, and bone texture.

In: films and their place in the store.
Out: masks, the table `masks.csv`, texture measures.
"""
