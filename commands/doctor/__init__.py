"""`doctor`: checks of a deployment, one module per subject; each check is a function that returns a finding."""
