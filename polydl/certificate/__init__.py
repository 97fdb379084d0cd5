"""Certificates of legality: a schedule's claims with a witness for each, and a checker that needs nothing else."""

from polydl.certificate.check import Report, check_certificate
from polydl.certificate.prove import certificate_text

__all__ = ["Report", "certificate_text", "check_certificate"]
