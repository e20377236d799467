"""What comes from outside: the data sets that the project knows, tables of users, and ImageNet weights.

In: a name of the registry, a folder, a user's table, a network or a package.
Out: a checked folder of films, what tables say of them, and tensors of weights checked against published hashes.
"""
