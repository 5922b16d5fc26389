"""The whole chain for real, in a minute: processes, the story they play, the plot of it."""
