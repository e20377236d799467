"""The synthetic knee: its anatomy, how it is drawn and imaged, and what a set of such films holds.

In: a seed, a bone density, a plan of copies, conflicts and label noise.
Out: films, as arrays or files, with the truth about each.
"""
