"""From files on S3 to KPIs a person can defend. Each folder is a package with one subject, which its __init__ names."""
