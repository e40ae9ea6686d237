"""What the project is made of: its locked packages, their known vulnerabilities (audit), and a list of them (sbom).

Belongs here: tools for whoever builds, run by make. Not here: anything that the product imports.
"""
