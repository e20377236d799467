#!/usr/bin/env bash
# scikit-learn 1.9.1: quantile bins turn a yes-or-no column into a constant, unless its share of yes is a quantile.
#
# KBinsDiscretizer cuts at quantiles of the training column. Of a column of zeros and ones all quantiles are 0 or 1, so
# after duplicates are removed one bin [0, 1] is left and every row falls into it. Only where the share of ones is itself
# one of the quantiles does averaging put an edge between the two values. A column that equals the label then scores at
# the share of the larger class with 40 % ones, and perfectly with 50 %. The warning speaks of narrow bins that are
# removed; it is the same as for skewed numbers, where nothing is lost. In a battery of features that asks whether file
# format or colour mode give a diagnosis away, the answer is no although they do. Pass columns of zeros and ones by the
# discretizer (make_column_transformer), or use strategy="uniform".
#
# Seen with scikit-learn 1.9.1, numpy 2.2.6, scipy 1.16.3, Python 3.11, Linux x86-64; accuracy of a classifier on a column
# that equals the label, by share of ones:
#   quantile, 6 bins: 0.40: 0.60, 0.45: 0.55, 0.50: 1.00; uniform: 1.00 for each
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check scikit-learn==1.9.1 numpy==2.2.6 scipy==1.16.3
cd "$folder"
env/bin/python - <<'PYTHON'
import warnings

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KBinsDiscretizer

for strategy in ("quantile", "uniform"):
    for share in (0.4, 0.45, 0.5):
        label = (np.arange(400) < 400 * share).astype(int)
        column = label[:, None].astype(float)
        bins = KBinsDiscretizer(
            6, encode="onehot-dense", strategy=strategy, quantile_method="averaged_inverted_cdf"
        )
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            model = make_pipeline(bins, LogisticRegression()).fit(column, label)
        reached = model.score(column, label)
        print(f"{strategy}, {share:.2f} ones: {reached:.2f}; bins {model[0].n_bins_[0]}; warnings {len(told)}")
        lost = strategy == "quantile" and share < 0.5
        assert reached == (max(share, 1 - share) if lost else 1.0)
        assert model[0].n_bins_[0] == (1 if lost else 2 if strategy == "quantile" else 6)
        assert all("small" in str(one.message) for one in told)
PYTHON
