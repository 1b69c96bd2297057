"""Addresses of SES's mailbox simulator: mail to them comes back."""

# Addresses of SES's mailbox simulator: mail to them comes back (local/emulator_process.py).
BOUNCES, COMPLAINS = "bounce@simulator.amazonses.com", "complaint@simulator.amazonses.com"
