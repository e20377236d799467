"""Exercises of the course: their right answers from the results of a study, checks, and a copy for students.

In: metrics, tables and predictions of a study, and a student's answer.
Out: whether the answer is right and, where it is not, what went wrong; notebooks without solutions.
"""
