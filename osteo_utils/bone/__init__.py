"""Where the bone lies in a film, by a U-Net or by edges, whether that mask may be trusted, and bone texture.

In: films and their place in the store.
Out: masks, the table `masks.csv`, texture measures.
"""
