"""What the predictions prove: combined models, subgroups, shortcuts, and the claims of the paper judged.

In: predictions and metrics of a study, and the paper as data (`claims.yaml`, `literature.yaml`).
Out: tables of comparisons and `claims.json` with a verdict for every claim.
"""
