"""From a data set to synthetic pixels: the one loop, and its parts."""
