"""What AMPECO's API is known to say, as data, and the script that derived it; not part of the wheel."""
