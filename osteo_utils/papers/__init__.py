"""What papers print: classification reports, published results, and the claims of one paper, judged by rule.

In: printed reports as text, `claims.yaml` and `literature.yaml`, metrics and predictions of a study.
Out: which confusion matrices a report allows, and `claims.json` with a verdict for every claim.
"""
