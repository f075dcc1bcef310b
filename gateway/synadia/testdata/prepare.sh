#!/bin/sh
# Prepares the TypeScript client and agent of the Synadia Agent Protocol in a folder:
# prepare.sh FOLDER REPOSITORY, where the repository is a URL or a git directory of
# synadia-ai/synadia-agents. It needs git, npm and node 20.
set -e
commit=afae9a2ad10be8595edf24b01cecb0f361590c5c
mkdir -p "$1"
cd "$1"
[ -d source ] || git clone -q "$2" source
git -C source checkout -q "$commit"
[ -f package.json ] || echo '{"private": true}' > package.json
[ -d node_modules/tsx ] || npm install --silent --no-audit --no-fund --legacy-peer-deps \
	@nats-io/nats-core@3.4.0 @nats-io/transport-node@3.4.0 @nats-io/services@3.0.0-25 tsx@4.23.15
rm -rf src-client src-agent
cp -r source/client-sdk/typescript/src src-client
cp -r source/agent-sdk/typescript/src src-agent
cat > tsconfig.json <<'JSON'
{"compilerOptions": {"module": "esnext", "moduleResolution": "bundler", "target": "es2022", "paths": {
  "@synadia-ai/agents": ["./src-client/index.ts"], "@synadia-ai/agents/errors": ["./src-client/errors.ts"],
  "@synadia-ai/agent-service": ["./src-agent/index.ts"], "@synadia-ai/agent-service/testing": ["./src-agent/testing/index.ts"]}}}
JSON
