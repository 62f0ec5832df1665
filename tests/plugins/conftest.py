"""The plugin's own tests run in the environment it is installed into, not among ours."""

collect_ignore = ["acme"]
