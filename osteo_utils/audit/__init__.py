"""Which films show the same knee, and what follows: groups, conflicts, overlap of two sets.

In: the manifest, the image store, and what people decided about films.
Out: `audit.csv`, tables of counts, the page of the audit.
"""
