"""The HTTP service: it accepts notifications and keeps our notification subscription at AMPECO right."""
