"""What a report shows of a run: its rows gathered, its figures drawn, its pictures chosen."""
