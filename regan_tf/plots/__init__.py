"""The pictures: of runs and of groups of them, in the manner of the paper's figures, and of what
commands measure.
"""

import matplotlib

matplotlib.use("Agg")
# 6.0159, not 0.0009 with a +6.015 in the corner.
matplotlib.rcParams["axes.formatter.useoffset"] = False
