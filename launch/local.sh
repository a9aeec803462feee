#!/usr/bin/env bash
# One job of N processes with M devices each, on this machine: bash launch/local.sh N M COMMAND...
# On a CPU the devices are virtual; on GPUs process K gets the M from K*M on, of CUDA_VISIBLE_DEVICES if that is set.
# Each line says which process it is from. When one fails, or a signal comes, all end. Environment: launch/README.md.
trap 'exit 130' INT
quiet=(env --block-signal=INT) # while Python starts: an exception of its own would get lost, or be taken for an error
"${quiet[@]}" true 2> /dev/null || quiet=() # coreutils before 8.31
trap - INT
exec "${quiet[@]}" python3 -IS "${0%"${0##*/}"}local.py" "$@" # with no package of the caller's
