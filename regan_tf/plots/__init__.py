"""The pictures: of runs and of groups of them, in the manner of the paper's figures, and of what
commands measure.
"""
