"""What adds words to a remote thread: nothing here changes which records there are."""
