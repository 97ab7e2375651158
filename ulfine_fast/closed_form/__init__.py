"""What `ulfine` is made of: PAF, probe, DLF and the EM rounds, in closed or convex form."""
