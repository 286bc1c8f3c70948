"""Where work is done: worker processes of this machine, or of a cluster's queue, behind one seam.

A task is text that names its entry, ``module:function``; what it gives is a file.  Labels and training are both such
tasks.
"""
