"""What makes a release of the image: its bill of materials, the check of its wheels, the digest of its base.

It is for developers and CI. Nothing of it is installed, and nothing here talks to a registry by itself: pip and
skopeo do, as they are configured.
"""
