"""VGG16 and ResNet50: frozen trunk, trainable tail, probes, training fold by fold, guards.

In: squares of films, folds, ImageNet weights, a recipe.
Out: fits on disk, out-of-fold predictions, training histories.
"""
