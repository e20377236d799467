"""How films are split into folds, and the mistakes that can happen on the way (the leakage lab).

In: films with label and group, features of films.
Out: `folds.csv`, folds to fit, predictions under each protocol and what each mistake gains.
"""
