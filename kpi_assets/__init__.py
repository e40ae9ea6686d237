"""From files on S3 to KPIs a person can defend. Each folder is a room with one subject; its __init__ says which."""
