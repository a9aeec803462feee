"""Verification that a run which is killed and resumed equals an uninterrupted run (`jaxasr verify-resume`)."""

from jaxasr.verify.resume import verify_resume as verify_resume
