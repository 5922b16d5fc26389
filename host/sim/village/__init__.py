"""A village worth analysing: loads, lines, theft, faults and outages, and what its meters show.

    plan       the description, a checked YAML or JSON file
    people     households and shops, and the watts that they draw by season and hour
    wires      the radial line: currents, loss, voltage; the transformer; the 10 kV line
    trouble    the kinds of theft, faults and outages, and where they are
    district   one day of a district after the other: what is true, and what the meters show

Every number comes from the seed, and a day costs milliseconds. Nothing here knows of frames,
records or databases.
"""
