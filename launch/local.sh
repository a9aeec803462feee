#!/usr/bin/env bash
# One job of N processes with M devices each, on this machine: bash launch/local.sh N M COMMAND...
# On a CPU the devices are virtual; on GPUs process K gets the M from K*M on, of CUDA_VISIBLE_DEVICES if that is set.
# Each line says which process it is from. When one fails, or a signal comes, all end. Environment: launch/README.md.
# It starts no other process, so no signal is lost; -IS: neither the caller's PYTHONPATH nor installed packages matter.
exec python3 -IS "${0%"${0##*/}"}local.py" "$@"
