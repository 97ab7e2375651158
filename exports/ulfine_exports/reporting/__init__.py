"""What a report shows of a run or a comparison, gathered, drawn and put into one page."""
