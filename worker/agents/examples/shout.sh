#!/bin/sh
# An agent in five lines: the task comes as one JSON object on standard input,
# and what is printed is the result.
read -r task
echo "task $MESH_TASK_ID, attempt $MESH_ATTEMPT:"
printf '%s\n' "$task" | sed -n 's/.*"instruction":"\([^"]*\)".*/\1/p' | tr '[:lower:]' '[:upper:]'
