"""From a run to an fp32 graph."""
