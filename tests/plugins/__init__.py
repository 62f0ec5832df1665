"""Plugins as third parties would write them; tests of what their authors rely on."""
