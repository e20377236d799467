"""Which films show the same knee, and what follows: groups, conflicts, overlap of two sets.

In: the manifest and the image store.
Out: `audit.csv`, tables of counts, the page of the audit.
"""
