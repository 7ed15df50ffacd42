"""Encoders: what turns texts and images into vectors.

Nothing here is imported before it is needed, and nothing at module level needs more than NumPy:
an encoder may run in another interpreter, in which the rest of this toolkit is not installed.
"""
