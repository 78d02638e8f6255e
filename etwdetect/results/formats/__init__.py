"""One module per format of the output."""
