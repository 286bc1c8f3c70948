"""Where labels are computed: worker processes of this machine, or of a cluster's queue, behind one seam."""
