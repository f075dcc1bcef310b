#!/bin/sh
# Checks the types of the clients and kits: TypeScript over the declarations and the
# JavaScript itself, mypy over Python. What cannot be had here is left out with a word.
set -eu
cd "$(dirname "$0")/.."
typescript=typescript@7.0.2 node_types=@types/node@20.19.43 mypy=mypy==1.19.1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

if command -v npm >/dev/null && npm install --prefix "$tmp" --no-audit --no-fund --silent --fetch-retries 0 $typescript $node_types 2>/dev/null; then
	client=$PWD/gateway/client/typescript kit=$PWD/worker/agent/typescript
	cat >"$tmp/tsconfig.json" <<JSON
{"compilerOptions": {"module": "nodenext", "target": "es2023", "lib": ["es2023", "dom", "dom.iterable", "dom.asynciterable"], "strict": true, "noEmit": true,
  "allowJs": true, "checkJs": true, "types": ["node"], "typeRoots": ["$tmp/node_modules/@types"],
  "paths": {"@agentmesh/client": ["$client/index.d.ts"], "@agentmesh/client/testing": ["$client/testing.d.ts"], "@agentmesh/agent": ["$kit/index.d.ts"], "@agentmesh/agent/testing": ["$kit/testing.d.ts"]}},
 "files": ["$client/index.js", "$client/testing.js", "$kit/index.js", "$kit/testing.js", "$client/test/types.ts"]}
JSON
	"$tmp/node_modules/.bin/tsc" -p "$tmp/tsconfig.json"
	for file in index testing; do
		for dir in "$client" "$kit"; do echo "import \"$dir/$file.js\";"; done
	done >"$tmp/declarations.ts"
	"$tmp/node_modules/.bin/tsc" --noEmit --strict --module nodenext --target es2023 --lib es2023,dom,dom.iterable --types "" "$tmp/declarations.ts"
	echo "TypeScript: the declarations, the JavaScript, and a program that uses them"
else
	echo "LEFT OUT: the TypeScript compiler cannot be had here"
fi

check="python3 -m mypy"
if ! $check --version >/dev/null 2>&1; then
	check="$tmp/mypy/bin/python -m mypy"
	{ python3 -m venv "$tmp/mypy" && "$tmp/mypy/bin/pip" install --quiet --disable-pip-version-check --retries 0 $mypy; } >/dev/null 2>&1 || check=
fi
if [ -n "$check" ]; then
	$check --ignore-missing-imports --cache-dir "$tmp/cache" gateway/client/python/agentmesh worker/agent/python/agentmesh_agent gateway/client/python/tests/typed.py
else
	echo "LEFT OUT: mypy cannot be had here"
fi
