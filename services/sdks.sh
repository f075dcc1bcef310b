#!/bin/sh
# Tests and packs the clients and worker kits in Python and TypeScript: make sdks.
# It says what it leaves out.
set -eu
cd "$(dirname "$0")/.."
left=

say() { printf '\n== %s\n' "$*"; }
leave() { printf 'LEFT OUT: %s\n' "$*"; left=yes; }

python3 -c 'import sys; sys.exit(sys.version_info < (3, 9))' || { echo "python 3.9 or newer is needed"; exit 1; }
[ "$(node -p 'process.versions.node.split(".")[0] >= 20')" = true ] || { echo "node 20 or newer is needed"; exit 1; }
export PYTHONDONTWRITEBYTECODE=1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

say "unit tests, the conformance list, and a whole mesh"
services/short.sh python node

say "Python 3.9 reads it"
python3 - $(git ls-files '*.py') <<'PY'
import ast, pathlib, sys
for file in sys.argv[1:]:
    ast.parse(pathlib.Path(file).read_text(), file, feature_version=(3, 9))
print(len(sys.argv) - 1, "files")
PY

say "each kit in each way"
go test -count 1 ./worker/agents -run 'Kit|Killed|Examples' -kits

say "packages"
for kit in worker/agent gateway/client; do
	(cd $kit/typescript && npm pack --silent --pack-destination "$tmp" >/dev/null)
done
ls -l "$tmp"/*.tgz | awk '{ print $5, $9 } $5 > 49152 { print "a package has more than 48 KB"; exit 1 }' | sed "s|$tmp/||"
mkdir "$tmp/app"
printf '{"type":"module"}' >"$tmp/app/package.json"
(cd "$tmp/app" && npm install --silent --offline --no-audit --no-fund "$tmp"/*.tgz && node --input-type=module -e 'import { Mesh } from "@agentmesh/client"; import { FakeMesh } from "@agentmesh/client/testing"; import { run } from "@agentmesh/agent/testing"; new Mesh(); new FakeMesh(); await run(() => 1)')

# The first block of code of a page, as it stands.
block() { awk -v fence="\`\`\`$1" '$0 == fence { on = 1; next } on && /^```/ { exit } on' "$2"; }
job='{"task_id":"tsk_1","attempt":1,"agent":"shout","instruction":"hello"}'
block js worker/agent/typescript/README.md >"$tmp/app/shout.js"
echo "$job" | node "$tmp/app/shout.js" | grep -q '"result":"HELLO"'
echo "the page of @agentmesh/agent runs from its package"
for kit in worker/agent gateway/client; do
	cp -R $kit/python "$tmp/src"
	if (cd "$tmp/src" && python3 -m pip wheel --quiet --no-deps --disable-pip-version-check --wheel-dir "$tmp" . 2>"$tmp/pip"); then :; else tail -2 "$tmp/pip"; leave "the wheel of $kit/python: its build backend (setuptools) cannot be had here"; fi
	rm -rf "$tmp/src"
done
for wheel in "$tmp"/*.whl; do
	[ -e "$wheel" ] || continue
	python3 -m zipfile -e "$wheel" "$tmp/site"
	basename "$wheel"
done
if [ -d "$tmp/site/agentmesh_agent" ]; then
	block python worker/agent/python/README.md >"$tmp/shout.py"
	echo "$job" | PYTHONPATH="$tmp/site" python3 "$tmp/shout.py" | grep -q '"result": "HELLO"'
	echo "the page of agentmesh-agent runs from its wheel"
fi

say "types"
services/sdks-types.sh >"$tmp/types" || { cat "$tmp/types"; exit 1; }
cat "$tmp/types"
! grep -q '^LEFT OUT' "$tmp/types" || left=yes
[ -z "$left" ] || printf '\nsome of it was left out: see above\n'
