#!/bin/sh
# The short forms of what needs more than Go: make short, or services/short.sh PART...
# A part runs where its tools are and says what is missing where they are not; nothing
# but a test that fails is a failure. All of it takes two minutes on two cores.
set -u
cd "$(dirname "$0")/.."
only="$*"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM
export PYTHONDONTWRITEBYTECODE=1
failed=

# has TOOL: whether it is here, and new enough.
has() {
	command -v "$1" >/dev/null 2>&1 || return 1
	case $1 in
	node) [ "$(node -p 'process.versions.node.split(".")[0] >= 20' 2>/dev/null)" = true ] ;;
	python3) python3 -c 'import sys; sys.exit(sys.version_info < (3, 9))' 2>/dev/null ;;
	esac
}

# part NAME "TOOL..." FUNCTION [ARGUMENT...]: one short form. TOOL|TOOL is either of two.
part() {
	name=$1 tools=$2
	shift 2
	case " $only " in "  " | *" $name "*) ;; *) return 0 ;; esac
	for either in $tools; do
		found=
		for tool in $(echo "$either" | tr '|' ' '); do if has "$tool"; then found=yes; fi; done
		if [ -z "$found" ]; then
			printf '%-10s skipped: no %s\n' "$name" "$either"
			return 0
		fi
	done
	began=$(date +%s)
	(
		set -e
		"$@"
	) >"$tmp/out" 2>&1 </dev/null
	code=$?
	took=$(($(date +%s) - began))
	case $code in
	0) printf '%-10s ok (%d s)\n' "$name" "$took" ;;
	75) printf '%-10s skipped: %s\n' "$name" "$(tail -n 1 "$tmp/out")" ;;
	*)
		printf '%-10s FAILED (%d s)\n' "$name" "$took"
		cat "$tmp/out"
		failed=yes
		;;
	esac
}

# skip WHY: leaves out a part that has begun.
skip() {
	echo "$*"
	exit 75
}

# gotest PACKAGE [FLAG...]: its tests, compiled once; flags of go test are -test.run and so on.
gotest() {
	package=$1 binary="$tmp/$(echo "$1" | tr / _).test"
	shift
	[ -e "$binary" ] || go test -c -o "$binary" "./$package"
	(cd "$package" && "$binary" -test.timeout 2m "$@")
}

# packages DIR PACKAGE@VERSION...: has npm install them, and skips where it cannot be asked.
packages() {
	dir=$1
	shift
	mkdir -p "$dir"
	bounded npm install --prefix "$dir" --no-audit --no-fund --silent --ignore-scripts --fetch-retries 0 --fetch-timeout 10000 "$@" ||
		skip "npm cannot fetch $*"
}

# bounded COMMAND...: a test that hangs fails.
bounded() {
	if command -v timeout >/dev/null 2>&1; then timeout 120 "$@"; else "$@"; fi
}

python_kits() {
	for kit in worker/agent gateway/client; do (cd $kit/python && bounded python3 -m unittest discover tests); done
	gotest gateway/client -test.run ConformanceOfPython -sdks
	gotest services/mesh -test.run 'ClientsInOtherLanguages(Speak|Do)/python3' -sdks
}

node_kits() {
	for kit in worker/agent gateway/client; do (cd $kit/typescript && bounded node --test test/*.test.js); done
	gotest gateway/client -test.run ConformanceOfTypeScript -sdks
	gotest services/mesh -test.run 'ClientsInOtherLanguages/node' -sdks
}

# other_runtime NAME: the client and the kit in JavaScript where it is not node that runs them.
other_runtime() {
	gotest services/mesh -test.run "ClientsInOtherLanguagesSpeak/$1" -sdks
	gotest worker/agents -test.run "(HandlersOfAKit|KilledBetween).*/$1" -kits
}

# stories drive the console in a browser; make console-test adds each screen.
stories() {
	gotest gateway/console -test.short -browser
}

a2a_client() {
	packages "$tmp/a2a" @a2a-js/sdk@1.3.0 a2a-sdk-03@npm:@a2a-js/sdk@0.3.14
	gotest gateway/a2a -test.run TheJavaScriptClient -sdk "$tmp/a2a"
}

model_server() {
	packages "$tmp/llm" @copilotkit/aimock@1.43.0
	gotest worker/agents/llm/chat -test.run Interop -llmock "$tmp/llm/node_modules/.bin/llmock"
	gotest worker/agents -test.run Interop -aimock "$tmp/llm/node_modules/.bin/aimock"
}

part python python3 python_kits
part node node node_kits
part deno deno other_runtime deno
part bun bun other_runtime bun
part browser 'chromium-headless-shell|chromium|google-chrome' stories
part a2a 'node npm' a2a_client
part llm 'node npm' model_server
[ -z "$failed" ]
