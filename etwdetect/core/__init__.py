"""What a remote thread is: the events, their order and the rule; no bytes, no files, no clock, no Windows."""
