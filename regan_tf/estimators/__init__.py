"""Gradient estimators: equations (4) to (19), the exact gradient, and the laboratory that measures
them.
"""
