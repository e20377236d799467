"""Every number with its interval: metrics, bootstrap over groups, tests, calibration, curves.

In: tables of predictions (the contract `predictions`) or plain arrays.
Out: estimates with intervals, p values, tables of curves.
"""
