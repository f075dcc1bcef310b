#!/bin/sh
[ "$1" = --describe ] && cat <<'JSON'
{"agents": [{"name": "research", "description": "Costs ${PRICE}: yes", "version": "1.0",
  "input_schema": {"type": "object", "properties": {"topic": {"type": "string", "pattern": "^${a}"}}, "required": ["topic"]}}, {"name": "plain"}]}
JSON
