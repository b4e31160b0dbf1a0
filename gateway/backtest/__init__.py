"""What a trigger would have done: the live engine over past traffic, with nothing sent or kept."""
