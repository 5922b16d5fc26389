"""IC cards: the image, its authentication, redemption in two phases."""
