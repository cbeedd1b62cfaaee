"""The task families that come with pearl."""
