"""What the predictions show: combined models, subgroups, shortcuts, and a verdict on each claim of the paper.

In: predictions and metrics of a study, and the paper as data (`claims.yaml`, `literature.yaml`).
Out: tables of comparisons and `claims.json` with a verdict for every claim.
"""
