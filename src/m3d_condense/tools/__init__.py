"""Small tools that know nothing of images."""
