"""What comes from outside: the data sets that the project knows, and ImageNet weights.

In: a name of the registry, a folder, a network or a package.
Out: a folder of films and tensors of weights, both checked against published hashes.
"""
