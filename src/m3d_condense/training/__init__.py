"""A network trained from scratch, and the augmentation of images."""
