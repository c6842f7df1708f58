"""What is computed where: the only room that knows hardware."""
