"""Mutation testing: small faults are put into the numeric code one at a time, and the tests have to notice."""
