"""Azure Resource Manager behind the ports. Nothing in here retries, sleeps, or lets a key out."""
