"""The synthetic knee: its anatomy, how it is drawn and imaged, and the design of a set of such films.

In: a seed, a bone density, a plan of copies, conflicts and label noise.
Out: films, as arrays or files, with their ground truth.
"""
