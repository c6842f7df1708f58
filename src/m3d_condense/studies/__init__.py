"""Many sets side by side: jobs, what is known of them, and tables."""
