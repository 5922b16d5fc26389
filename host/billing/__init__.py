"""What electricity costs, in exact fractions: independent of the device, and held against it."""
