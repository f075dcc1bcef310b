#!/bin/sh
# An agent in a few lines: what is printed is the result. The task is one JSON
# object on standard input, and its instruction is in the environment as well, so
# that a shell needs no JSON parser.
if [ -z "$MESH_INSTRUCTION" ]; then
	echo '{"type":"error","code":"bad_input","message":"send an instruction of at most 64 KiB","retryable":false}'
	exit
fi
echo "task $MESH_TASK_ID, attempt $MESH_ATTEMPT:"
printf '%s\n' "$MESH_INSTRUCTION" | tr '[:lower:]' '[:upper:]'
