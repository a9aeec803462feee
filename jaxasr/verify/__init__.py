"""`jaxasr verify-resume`: proves that a killed and resumed run equals an unbroken one."""

from jaxasr.verify.resume import verify_resume as verify_resume
