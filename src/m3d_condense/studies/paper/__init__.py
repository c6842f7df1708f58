"""The tables and figures of the M3D paper as grids of jobs, each result beside what the paper reports."""
