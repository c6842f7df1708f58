"""Every setting as frozen records, and the named sets of them; free of torch."""
